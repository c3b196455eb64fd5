//! A TCP proxy whose connections can be cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A way to a server that can be cut and mended.
pub(crate) struct Proxy {
    address: SocketAddr,
    cuts: watch::Sender<u64>,
    refusing: Arc<AtomicBool>,
}

impl Proxy {
    /// In front of a server at `url`.
    pub(crate) async fn start(url: &str) -> Self {
        let server = url.strip_prefix("nats://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cuts, heard) = watch::channel(0);
        let refusing = Arc::new(AtomicBool::new(false));
        tokio::spawn(serve(listener, server, heard, Arc::clone(&refusing)));
        Self { address, cuts, refusing }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Ends every connection; new ones are served.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }

    /// Ends every connection, and serves no new ones.
    pub(crate) fn close(&self) {
        self.refusing.store(true, Ordering::SeqCst);
        self.cut();
    }

    /// Serves new connections again.
    pub(crate) fn open(&self) {
        self.refusing.store(false, Ordering::SeqCst);
    }
}

async fn serve(
    listener: TcpListener,
    server: String,
    heard: watch::Receiver<u64>,
    refusing: Arc<AtomicBool>,
) {
    while let Ok((mut client, _)) = listener.accept().await {
        if refusing.load(Ordering::SeqCst) {
            continue;
        }
        let (server, mut cut) = (server.clone(), heard.clone());
        cut.mark_unchanged();
        tokio::spawn(async move {
            let Ok(mut upstream) = TcpStream::connect(&server).await else { return };
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut upstream) => {}
                _ = cut.changed() => {}
            }
        });
    }
}
