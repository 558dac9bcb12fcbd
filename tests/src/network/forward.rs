//! A proxy for HTTP, as companies put it between their machines and the world: CONNECT, and
//! requests with a whole URL.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::failure::{Context, Result};

/// The longest head of a request.
const HEAD: u64 = 64 * 1024;

/// The proxy, and what it was asked for.
pub struct ForwardProxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ForwardProxy {
    /// One that wants the value of `Proxy-Authorization`, if it is given. It ends with the process.
    ///
    /// # Errors
    /// There is no port for it.
    pub fn start(authorization: Option<&str>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("a port")?;
        let address = listener.local_addr().context("its address")?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (noted, wanted) = (asked.clone(), authorization.map(str::to_owned));
        let accept = move || {
            for client in listener.incoming().map_while(std::result::Result::ok) {
                let (noted, wanted) = (noted.clone(), wanted.clone());
                let serve = move || drop(serve(client, wanted.as_deref(), &noted));
                drop(thread::Builder::new().spawn(serve));
            }
        };
        thread::Builder::new().spawn(accept).context("a thread")?;
        Ok(ForwardProxy { address, asked })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The first lines of the requests it got, `CONNECT localhost:443 HTTP/1.1` say.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection: all its requests go where the first one goes.
fn serve(
    client: TcpStream,
    wanted: Option<&str>,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut from_client = BufReader::new(client.try_clone()?);
    let mut to_client = client;
    let (mut lines, mut line) = (Vec::new(), String::new());
    while from_client.by_ref().take(HEAD).read_line(&mut line)? > 0 && line != "\r\n" {
        lines.push(std::mem::take(&mut line));
    }
    let Some(first) = lines.first() else { return Ok(()) };
    lock(asked).push(first.trim().to_owned());
    let given = lines.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("proxy-authorization").then(|| value.trim())
    });
    if wanted.is_some() && given != wanted {
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\n\
                       proxy-authenticate: Basic realm=\"proxy\"\r\ncontent-length: 0\r\n\r\n";
        return to_client.write_all(refusal.as_bytes());
    }
    let target = first.split(' ').nth(1).unwrap_or_default();
    let host = target
        .strip_prefix("http://")
        .map_or(target, |rest| rest.split('/').next().unwrap_or(rest));
    let Ok(mut server) = TcpStream::connect(host) else {
        return to_client.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n");
    };
    server.set_nodelay(true)?;
    to_client.set_nodelay(true)?;
    if first.starts_with("CONNECT ") {
        to_client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    } else {
        let own = |line: &&String| !line.to_ascii_lowercase().starts_with("proxy-");
        let head: String = lines.iter().filter(own).map(String::as_str).collect();
        server.write_all(head.as_bytes())?;
        server.write_all(b"\r\n")?;
    }
    let (mut from_server, mut back) = (server.try_clone()?, to_client.try_clone()?);
    let answers = move || {
        drop(std::io::copy(&mut from_server, &mut back));
        drop(back.shutdown(Shutdown::Both));
    };
    thread::Builder::new().spawn(answers)?;
    drop(std::io::copy(&mut from_client, &mut server));
    server.shutdown(Shutdown::Both)
}
