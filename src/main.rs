//! The `natslock` command.

fn main() -> std::process::ExitCode {
    natslock::cli::main()
}
