//! How long the hot operations take: `cargo bench` in this folder.

use criterion::{Criterion, criterion_group, criterion_main};

fn time(criterion: &mut Criterion) {
    for operation in hot::operations() {
        criterion.bench_function(operation.name, |bencher| {
            let mut run = (operation.prepare)();
            bencher.iter(&mut run);
        });
    }
}

criterion_group!(benches, time);
criterion_main!(benches);
