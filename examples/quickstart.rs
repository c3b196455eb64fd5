//! A first look: a coordinator inside this process, workers that contend for one lock, and a resource that
//! refuses a stale token.

use natslock::client::{AcquireOptions, Acquired, ClientOptions};
use natslock::nats::{ConnectOptions, NatsClient};
use natslock::service::{Config, Coordinator};
use natslock::types::{LockName, OwnerName, Wait};
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter("info,natslock=debug").init();
    let url = std::env::var("NATS_URL")?;
    let connect = ConnectOptions { urls: vec![url], ..ConnectOptions::default() };
    let mut coordinator = Coordinator::connect(&connect, Config::default(), 1).await?;
    assert!(coordinator.ready().await);
    let name = LockName::encode("orders.42")?;
    let mut tasks = Vec::new();
    for worker in 0..4 {
        let (connect, name) = (connect.clone(), name.clone());
        tasks.push(tokio::spawn(async move {
            let owner = OwnerName::encode(&format!("worker-{worker}")).unwrap();
            let client = NatsClient::connect_with(&connect, ClientOptions::new(owner)).await.unwrap();
            for _ in 0..3 {
                let options = AcquireOptions::default().wait(Wait::from_millis(10_000).unwrap());
                match client.acquire(&name, &options).await.unwrap() {
                    Acquired::Granted(lease, _) => {
                        println!("worker {worker} token {} waited {:?}", lease.token, lease.waited);
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        client.release(&name, lease.to_ref(), Duration::ZERO).await.unwrap();
                    }
                    other => println!("{other:?}"),
                }
            }
        }));
    }
    for task in tasks {
        task.await?;
    }
    coordinator.shutdown().await;
    Ok(())
}
