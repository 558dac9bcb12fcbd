//! A wire between two nodes, which can be cut: what is sent then arrives nowhere, and nobody is told.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use durstream_tests::failure::{Context, Result};

/// How often a wire that is cut looks whether it is whole again.
const LOOK: Duration = Duration::from_millis(50);
const CHUNK: usize = 64 * 1024;

pub(super) struct Link {
    pub(super) address: SocketAddr,
    is_cut: Arc<AtomicBool>,
}

impl Link {
    /// One that leads to an address. It ends with the process.
    pub(super) fn to(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a link's port")?;
        let address = listener.local_addr().context("a link's address")?;
        let is_cut = Arc::<AtomicBool>::default();
        let cut = is_cut.clone();
        let accept = move || {
            for client in listener.incoming().map_while(std::result::Result::ok) {
                let cut = cut.clone();
                let carry = move || drop(carry(client, target, &cut));
                drop(thread::Builder::new().spawn(carry));
            }
        };
        thread::Builder::new().spawn(accept).context("a link's thread")?;
        Ok(Self { address, is_cut })
    }

    pub(super) fn set_cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
    }
}

fn carry(client: TcpStream, target: SocketAddr, cut: &Arc<AtomicBool>) -> std::io::Result<()> {
    if cut.load(Ordering::SeqCst) {
        while cut.load(Ordering::SeqCst) {
            thread::sleep(LOOK);
        }
        return Ok(()); // whoever still waits is told by the end of the connection
    }
    let server = TcpStream::connect(target)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (back_from, back_to, back_cut) = (server.try_clone()?, client.try_clone()?, cut.clone());
    thread::Builder::new().spawn(move || copy(back_from, back_to, &back_cut))?;
    copy(client, server, cut);
    Ok(())
}

/// Copies one way. A connection that was cut is not used again: it lacks what was sent meanwhile.
fn copy(mut from: TcpStream, mut to: TcpStream, cut: &AtomicBool) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(length @ 1..) = from.read(&mut chunk) {
        if cut.load(Ordering::SeqCst) {
            while cut.load(Ordering::SeqCst) {
                thread::sleep(LOOK);
            }
            break;
        }
        if to.write_all(&chunk[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
