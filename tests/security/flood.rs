//! Somebody who sends as much as he can.

use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::StreamExt as _;
use natslock::clock::{Clock as _, SystemClock};
use natslock::nats::{ConnectOptions, NatsTransport, connect};
use natslock::transport::{Message, Transport as _};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

/// How often a burst comes, where the rate is bounded.
const EVERY: Duration = Duration::from_millis(2);
/// A flood without a bound looks at the time that often.
const UNBOUNDED_BURST: usize = 256;

/// On a thread and a connection of its own, so that it takes no time of those who are measured but what the machine
/// has to share.
pub(super) struct Flooder {
    orders: mpsc::UnboundedSender<(String, oneshot::Receiver<()>, oneshot::Sender<usize>)>,
    thread: JoinHandle<Vec<Value>>,
}

/// A flood that is going on.
pub(super) struct Flood {
    stop: oneshot::Sender<()>,
    sent: oneshot::Receiver<usize>,
}

impl Flooder {
    /// It sends at most so many messages a second; without a number, as many as one connection takes.
    pub(super) fn start(server: &ConnectOptions, per_second: Option<usize>) -> Self {
        let (orders, inbox) = mpsc::unbounded_channel();
        let server = server.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(server, per_second, inbox))
        });
        Self { orders, thread }
    }

    /// Begins to send requests below this subject.
    pub(super) fn send(&self, below: &str) -> Flood {
        let (stop, stopped) = oneshot::channel();
        let (told, sent) = oneshot::channel();
        self.orders.send((below.to_owned(), stopped, told)).unwrap();
        Flood { stop, sent }
    }

    /// Ends it, and returns what it was answered.
    pub(super) async fn end(self) -> Vec<Value> {
        drop(self.orders);
        tokio::task::spawn_blocking(|| self.thread.join().unwrap()).await.unwrap()
    }
}

impl Flood {
    /// Ends it, and says how many messages there were. They have all reached the server.
    pub(super) async fn end(self) -> usize {
        self.stop.send(()).unwrap();
        self.sent.await.unwrap()
    }
}

async fn run(
    server: ConnectOptions,
    per_second: Option<usize>,
    mut orders: mpsc::UnboundedReceiver<(String, oneshot::Receiver<()>, oneshot::Sender<usize>)>,
) -> Vec<Value> {
    let transport = NatsTransport::new(connect(&server).await.unwrap());
    let inbox = transport.new_inbox();
    let mut answers = transport.subscribe(inbox.clone()).await.unwrap();
    let mut heard: Vec<Value> = Vec::new();
    let hear = |message: Message, heard: &mut Vec<Value>| {
        heard.extend(serde_json::from_slice::<Value>(&message.payload))
    };
    loop {
        let (below, mut stopped, told) = tokio::select! {
            order = orders.recv() => match order { Some(order) => order, None => return heard },
            Some(message) = answers.next() => { hear(message, &mut heard); continue }
        };
        let burst = per_second.map_or(UNBOUNDED_BURST, |rate| rate * 2 / 1_000);
        let (mut sent, mut next) = (0_usize, SystemClock::boot());
        while stopped.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
            for _ in 0..burst {
                let client = transport.connection().client();
                let subject = format!("{below}.{}", sent % 10_000);
                client.publish_with_reply(subject, inbox.clone(), "{}".into()).await.unwrap();
                sent += 1;
            }
            if per_second.is_some() {
                next = (next + EVERY).max(SystemClock::boot());
                SystemClock.sleep_until(next).await;
            }
        }
        transport.flush().await;
        let _ = told.send(sent);
    }
}

/// Somebody who hears a flood and does nothing, as a coordinator that costs nothing would.
pub(super) struct Sink {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<usize>,
}

impl Sink {
    /// Listens, on a thread and a connection of its own.
    pub(super) async fn start(server: &ConnectOptions, subject: &str) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let (told, ready) = oneshot::channel();
        let (server, subject) = (server.clone(), subject.to_owned());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let transport = NatsTransport::new(connect(&server).await.unwrap());
                let mut heard = transport.subscribe(subject).await.unwrap();
                let _ = told.send(());
                let mut count = 0;
                loop {
                    tokio::select! {
                        biased;
                        _ = &mut stopped => return count,
                        message = heard.next() => count += usize::from(message.is_some()),
                    }
                }
            })
        });
        ready.await.unwrap();
        Self { stop, thread }
    }

    /// Ends it, and says how much it has heard.
    pub(super) async fn end(self) -> usize {
        self.stop.send(()).unwrap();
        tokio::task::spawn_blocking(|| self.thread.join().unwrap()).await.unwrap()
    }
}
