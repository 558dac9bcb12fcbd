//! One client's connection: its requests, one after the other, each with the fault the rules say.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::journal::{Answer, Entry};
use super::link::{Link, reset};
use super::rule::{Cut, Fault, Moment, Plan};
use super::shared::Shared;
use super::wire::{Body, Head, Tally, has_no_body};

/// What is copied at a time.
const PIECE_BYTES: usize = 64 * 1024;
/// How often a wait for the server looks whether the client is still there.
const WATCH: Duration = Duration::from_millis(100);
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// A socket to read from.
struct Source {
    socket: Arc<TcpStream>,
    /// The client that waits for what this server sends; when it goes, reading ends.
    client: Option<Arc<TcpStream>>,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match (&*self.socket).read(buffer) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if self.client.as_ref().is_some_and(|client| has_ended(client)) {
                        return Err(io::Error::new(
                            ErrorKind::ConnectionAborted,
                            "the client left",
                        ));
                    }
                }
                other => return other,
            }
        }
    }
}

/// Whether the other side closed the connection, without waiting for it.
fn has_ended(socket: &TcpStream) -> bool {
    let peeked = socket.set_nonblocking(true).and_then(|()| socket.peek(&mut [0]));
    let _ = socket.set_nonblocking(false);
    match peeked {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

struct Upstream {
    address: SocketAddr,
    socket: Arc<TcpStream>,
    reader: BufReader<Source>,
}

/// How a request left the client's connection.
enum End {
    Keep,
    Close,
    Reset,
}

pub(super) struct Connection {
    number: u64,
    shared: Arc<Shared>,
    link: Arc<Link>,
    client: Arc<TcpStream>,
    reader: BufReader<Source>,
    upstream: Option<Upstream>,
}

impl Connection {
    pub(super) fn new(
        number: u64,
        shared: Arc<Shared>,
        link: Arc<Link>,
        client: Arc<TcpStream>,
    ) -> Self {
        let source = Source { socket: client.clone(), client: None };
        let reader = BufReader::with_capacity(PIECE_BYTES, source);
        Self { number, shared, link, client, reader, upstream: None }
    }

    /// Serves until the client, a fault or the proxy ends it.
    pub(super) fn run(mut self) {
        loop {
            match self.next() {
                Ok(End::Keep) => {}
                Ok(End::Close) => {
                    let _ = self.client.shutdown(Shutdown::Write);
                    return;
                }
                Ok(End::Reset) | Err(_) => {
                    reset(&self.client);
                    if let Some(upstream) = &self.upstream {
                        reset(&upstream.socket);
                    }
                    return;
                }
            }
        }
    }

    fn next(&mut self) -> io::Result<End> {
        if !self.link.set_idle(true) {
            return Ok(End::Close);
        }
        let waiting = self.reader.fill_buf()?.is_empty();
        if !self.link.set_idle(false) {
            return Ok(End::Reset);
        }
        if waiting {
            return Ok(End::Close);
        }
        let Some(head) = Head::read(&mut self.reader)? else { return Ok(End::Close) };
        let mut request = Request::new(head, self.shared.max_body_bytes)?;
        if self.shared.rules().ask_for_bodies() {
            request.read_whole(&self.client, &mut self.reader)?;
        }
        let Request { head, read, .. } = &request;
        let plan = self.shared.rules().decide(Some(head), read);
        let entry = Entry {
            connection: self.number,
            method: head.method().to_owned(),
            target: head.target().to_owned(),
            headers: head.headers.clone(),
            rules: plan.fired.clone(),
            ..Entry::default()
        };
        let number = self.shared.journal().push(entry);
        let exchange = Exchange { connection: self, request, number };
        let end = exchange.run(&plan);
        if let Err(error) = &end {
            let text = error.to_string();
            self.shared.journal().change(number, |entry| entry.error = Some(text));
        }
        end
    }

    /// A connection to where the server is now: the one from before if it still stands.
    fn upstream(&mut self) -> io::Result<&mut Upstream> {
        let address = self.shared.upstream();
        let usable = self
            .upstream
            .as_ref()
            .is_some_and(|upstream| upstream.address == address && !has_ended(&upstream.socket));
        if !usable {
            self.upstream = None;
            let socket = TcpStream::connect_timeout(&address, CONNECT_LIMIT)?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(WATCH))?;
            let socket = Arc::new(socket);
            self.link.set_upstream(&socket);
            if self.shared.waits.is_stopping() {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            let source = Source { socket: socket.clone(), client: None };
            let reader = BufReader::with_capacity(PIECE_BYTES, source);
            self.upstream = Some(Upstream { address, socket, reader });
        }
        Ok(self.upstream.as_mut().expect("it was just made"))
    }
}

/// A request, and how much of it was read.
struct Request {
    head: Head,
    /// What was read of its body, as it came.
    read: Vec<u8>,
    /// The rest.
    body: Body,
    tally: Tally,
    /// The client waits for permission to send the body.
    expects_continue: bool,
}

impl Request {
    fn new(head: Head, keep: usize) -> io::Result<Self> {
        let (body, expects_continue) = (head.request_body()?, head.expects_continue());
        Ok(Self { head, read: Vec::new(), body, tally: Tally::keeping(keep), expects_continue })
    }

    fn permit(&mut self, mut client: &TcpStream) -> io::Result<()> {
        if std::mem::take(&mut self.expects_continue) {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        Ok(())
    }

    fn read_whole(&mut self, client: &TcpStream, reader: &mut impl BufRead) -> io::Result<()> {
        self.permit(client)?;
        let read = &mut self.read;
        self.body.pump(reader, u64::MAX, &mut self.tally, |piece| {
            read.extend_from_slice(piece);
            Ok(())
        })
    }
}

/// One request on its way.
struct Exchange<'a> {
    connection: &'a mut Connection,
    request: Request,
    number: u64,
}

impl Exchange<'_> {
    fn run(mut self, plan: &Plan) -> io::Result<End> {
        let fault = plan.fault.as_ref();
        if let Some(Fault::ResetBefore) = fault {
            return Ok(End::Reset);
        }
        // What may outlive its sender is read in full first.
        let waits =
            matches!(fault, Some(Fault::Delay { .. } | Fault::Hold { .. } | Fault::Stall { .. }));
        if waits || matches!(fault, Some(Fault::Answer { .. })) {
            let Connection { client, reader, .. } = &mut *self.connection;
            self.request.read_whole(client, reader)?;
        }
        self.request.permit(&self.connection.client)?;
        self.record();
        self.wait(fault, Moment::Forward, plan.latency_ms / 2)?;
        match fault {
            Some(Fault::Stall { forward: false }) => return self.stall(),
            Some(Fault::Answer { forward: false, .. }) => return self.answer_as(fault),
            Some(Fault::ResetWithin { bytes }) => {
                return self.forward(*bytes).map(|()| End::Reset);
            }
            _ => self.forward(u64::MAX)?,
        }
        let (head, body) = self.server_answer(fault.is_none())?;
        self.wait(fault, Moment::Answer, plan.latency_ms - plan.latency_ms / 2)?;
        match fault {
            Some(Fault::ResetAfter) => self.drop_answer(body).map(|()| End::Reset),
            Some(Fault::Stall { .. }) => {
                self.drop_answer(body)?;
                self.stall()
            }
            Some(Fault::Answer { .. }) => {
                self.drop_answer(body)?;
                self.answer_as(fault)
            }
            Some(Fault::CutAnswer { at, close }) => {
                self.pass(&head, body, Some(*at))?;
                Ok(if *close { End::Close } else { End::Reset })
            }
            _ => self.pass(&head, body, None),
        }
    }

    fn wait(&self, fault: Option<&Fault>, now: Moment, latency_ms: u64) -> io::Result<()> {
        let waits = &self.connection.shared.waits;
        let went_on = match fault {
            Some(Fault::Delay { ms, before }) if *before == now => waits.pause(*ms),
            Some(Fault::Hold { name, before }) if *before == now => waits.hold(name),
            _ => true,
        };
        if went_on && waits.pause(latency_ms) {
            return Ok(());
        }
        Err(io::Error::new(ErrorKind::ConnectionAborted, "the proxy stopped"))
    }

    fn record(&self) {
        let tally = &self.request.tally;
        self.connection.shared.journal().change(self.number, |entry| {
            entry.body_bytes = tally.bytes;
            entry.body.clone_from(&tally.kept);
        });
    }

    /// Sends the request: its head, what was read of its body, and the rest up to the limit.
    /// A server that answers early and stops reading gets no more of it.
    fn forward(&mut self, limit: u64) -> io::Result<()> {
        let Request { head, read, .. } = &self.request;
        let mut out = head.without("expect");
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        out.extend_from_slice(&read[..read.len().min(most)]);
        let socket = self.connection.upstream()?.socket.clone();
        let mut broken = false;
        let mut send = |bytes: &[u8]| broken = broken || (&*socket).write_all(bytes).is_err();
        // The head travels with what is there of the body already.
        let Request { body, tally, .. } = &mut self.request;
        let pumped = body.pump(&mut self.connection.reader, limit, tally, |piece| {
            if out.is_empty() {
                send(piece);
            } else {
                out.extend_from_slice(piece);
                send(&std::mem::take(&mut out));
            }
            Ok(())
        });
        if !out.is_empty() {
            send(&out);
        }
        self.record();
        pumped
    }

    /// Reads the head of the server's answer. With `watch` the wait ends when the client goes.
    fn server_answer(&mut self, watch: bool) -> io::Result<(Head, Body)> {
        let client = watch.then(|| self.connection.client.clone());
        let upstream = self.connection.upstream.as_mut().expect("the request was forwarded");
        upstream.reader.get_mut().client = client;
        let head = loop {
            let head = Head::read(&mut upstream.reader)?;
            let head = head.ok_or_else(|| io::Error::other("the server closed the connection"))?;
            if head.status()? >= 200 {
                break head;
            }
        };
        let body = head.answer_body(self.request.head.method())?;
        let answer = Answer { status: head.status()?, headers: head.headers.clone() };
        self.connection.shared.journal().change(self.number, |e| e.server_answer = Some(answer));
        Ok((head, body))
    }

    /// Passes the server's answer on, up to the cut.
    fn pass(&mut self, head: &Head, mut body: Body, cut: Option<Cut>) -> io::Result<End> {
        let client = self.connection.client.clone();
        if let Some(Cut::Head(bytes)) = cut {
            (&*client).write_all(&head.raw[..bytes.min(head.raw.len())])?;
            return Ok(End::Reset);
        }
        let limit = match cut {
            Some(Cut::Body(bytes)) => bytes,
            _ => u64::MAX,
        };
        let answer = Answer { status: head.status()?, headers: head.headers.clone() };
        self.connection.shared.journal().answer(self.number, answer);
        let upstream = self.connection.upstream.as_mut().expect("it just answered");
        // The head travels with what is there of the body already.
        let mut out = head.raw.clone();
        if upstream.reader.buffer().is_empty() && !body.is_done() {
            (&*client).write_all(&std::mem::take(&mut out))?;
        }
        body.pump(&mut upstream.reader, limit, &mut Tally::default(), |piece| {
            if out.is_empty() {
                return (&*client).write_all(piece);
            }
            out.extend_from_slice(piece);
            (&*client).write_all(&std::mem::take(&mut out))
        })?;
        (&*client).write_all(&out)?;
        Ok(self.after(head.is_last() || body.is_unframed()))
    }

    fn after(&mut self, last: bool) -> End {
        if last {
            self.connection.upstream = None;
        }
        if last || self.request.head.is_last() { End::Close } else { End::Keep }
    }

    fn drop_answer(&mut self, mut body: Body) -> io::Result<()> {
        let upstream = self.connection.upstream.as_mut().expect("it just answered");
        body.pump(&mut upstream.reader, u64::MAX, &mut Tally::default(), |_| Ok(()))?;
        if body.is_unframed() {
            self.connection.upstream = None;
        }
        Ok(())
    }

    /// Waits until the client gives up.
    fn stall(&mut self) -> io::Result<End> {
        let reader = &mut self.connection.reader;
        loop {
            match reader.fill_buf()?.len() {
                0 => return Ok(End::Close),
                bytes => reader.consume(bytes),
            }
        }
    }

    fn answer_as(&mut self, fault: Option<&Fault>) -> io::Result<End> {
        let Some(Fault::Answer { status, headers, body, .. }) = fault else {
            return Err(io::Error::other("no answer to give"));
        };
        let mut headers = headers.clone();
        let own_length =
            headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        if !own_length && !has_no_body(*status) {
            headers.push(("Content-Length".to_owned(), body.len().to_string()));
        }
        let lines = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        let mut out = format!("HTTP/1.1 {status} Answer\r\n{}\r\n", lines.collect::<String>());
        if self.request.head.method() != "HEAD" && !has_no_body(*status) {
            out.push_str(body);
        }
        let last = headers.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close")
        });
        let answer = Answer { status: *status, headers };
        self.connection.shared.journal().answer(self.number, answer);
        (&*self.connection.client).write_all(out.as_bytes())?;
        Ok(if last || self.request.head.is_last() { End::Close } else { End::Keep })
    }
}
