//! Three candidates, one leads: `./nats/run cargo run --example leader_election`.
//!
//! Each candidate is a process of its own, which serves TCP on an address of its own while it leads. The first
//! leader is killed (signal 9): another leads when the lease of the dead one is over. The second is told to stop
//! and resigns: the third leads at once. An observer prints each change, and asks the leader at its address. Ends
//! with exit code 1 if the dead leader was not replaced in time.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::collections::HashMap;
use std::error::Error;
use std::io::Read as _;
use std::process::Stdio;
use std::time::Duration;

use futures_util::StreamExt as _;
use natslock::client::{Client, ClientOptions, Election, Leader};
use natslock::clock::SystemClock;
use natslock::nats::ConnectOptions;
use natslock::service::{Config, Coordinator};
use natslock::types::OwnerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

const ELECTION: &str = "elections.scheduler";
/// For so long at most nobody leads when the leader has died.
const TTL: Duration = Duration::from_secs(2);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let Ok(url) = std::env::var("NATS_URL") else {
        return Err("NATS_URL is not set; run this as: ./nats/run cargo run --example leader_election".into());
    };
    match std::env::args().nth(1) {
        Some(name) => candidate(&ConnectOptions::to(&url), &name).await,
        None => observer(&url).await,
    }
}

/// One candidate: it leads when it is its turn, until its standard input ends.
async fn candidate(nats: &ConnectOptions, name: &str) -> Result<()> {
    let stopped = end_of_input();
    let client = Client::connect_with(nats, ClientOptions::new(OwnerName::encode(name)?)).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let election = Election::new(client, ELECTION)?.ttl(TTL);
    let leadership = election.campaign(listener.local_addr()?.to_string()).await?;
    // What only the leader may do. It ends when the leadership is lost; what it writes elsewhere should carry the
    // token, to be refused if this process was paused and another leads.
    let lead = leadership.run(async {
        loop {
            let (mut caller, _) = listener.accept().await?;
            caller.write_all(format!("I am {name}, my token is {}", leadership.token()).as_bytes()).await?;
        }
    });
    tokio::select! {
        led = lead => return led?,
        _ = stopped => {}
    }
    leadership.resign().await;
    Ok(())
}

async fn observer(url: &str) -> Result<()> {
    let coordinator = Coordinator::connect(&ConnectOptions::to(url), Config::default(), 1).await?;
    let election = Election::new(Client::connect(url).await?, ELECTION)?;
    let began = SystemClock::boot();
    let mut changes = election.observe().await?.inspect(|change| {
        let at = SystemClock::boot().since(began).as_secs_f64();
        match change {
            None => println!("{at:>6.3} s  nobody leads"),
            Some(Leader { owner, address, token }) => {
                println!("{at:>6.3} s  {owner} leads at {address} with token {token}");
            }
        }
    });
    let mut candidates = HashMap::new();
    for name in ["anna", "boris", "chen"] {
        candidates.insert(name.to_owned(), start(name)?);
    }

    let mut next = async || loop {
        match changes.next().await {
            Some(Some(leader)) => return Ok::<_, Box<dyn Error + Send + Sync>>(leader),
            Some(None) => {}
            None => return Err("the connection was closed".into()),
        }
    };
    let first = next().await?;
    ask(&first).await?;
    println!("          {} is killed; its lease of {TTL:?} has to end first", first.owner);
    candidates.get_mut(&first.owner.to_string()).ok_or("not a candidate")?.kill().await?;
    let killed = SystemClock::boot();
    let second = next().await?;
    let idle = SystemClock::boot().since(killed);
    ask(&second).await?;
    println!("          {} is told to stop, and resigns", second.owner);
    let mut stopped = candidates.remove(&second.owner.to_string()).ok_or("not a candidate")?;
    drop(stopped.stdin.take());
    let told = SystemClock::boot();
    let third = next().await?;
    let handed = SystemClock::boot().since(told);
    ask(&third).await?;
    stopped.wait().await?;
    drop(candidates);
    coordinator.shutdown().await;

    println!("\nnobody led for {idle:.1?} after the kill, and for {handed:.1?} after the resignation");
    let rising = first.token < second.token && second.token < third.token;
    if rising && idle < TTL + Duration::from_secs(1) { Ok(()) } else { Err("not as it should be".into()) }
}

/// Clients find the leader by its address. Whoever answers says so with its token.
async fn ask(leader: &Leader) -> Result<()> {
    let mut answer = String::new();
    TcpStream::connect(&leader.address).await?.take(64).read_to_string(&mut answer).await?;
    println!("          asked there, it says: {answer}");
    Ok(())
}

/// This program once more, as a candidate.
fn start(name: &str) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    Ok(command.arg(name).stdin(Stdio::piped()).kill_on_drop(true).spawn()?)
}

/// Comes when whoever started this process wants it to stop, or is gone.
fn end_of_input() -> oneshot::Receiver<()> {
    let (told, ended) = oneshot::channel();
    std::thread::spawn(move || {
        // Nothing is ever written there.
        _ = std::io::stdin().read(&mut [0]);
        _ = told.send(());
    });
    ended
}
