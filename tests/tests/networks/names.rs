//! Names of hosts, as a name server gives them: late, none, others than before.
//!
//! Each test runs once more in a network of its own (namespaces of Linux), where every lookup of the
//! system comes to a name server of the test's. Where none can be made, it says so and is skipped.

use std::collections::HashMap;
use std::ffi::CStr;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};

use super::odd_servers::{Odd, Way};
use durstream_core::{DurableStream, IdempotentProducer, Options};

/// What the test in the network of its own is told.
const INSIDE: &str = "DURSTREAM_OWN_NETWORK";
/// The system's files, in whose place those of the test are.
const RESOLVER: &str = "nameserver 127.0.0.1\noptions timeout:30 attempts:1\n";
const ORDER: &str = "hosts: files dns\n";

/// Whether this is the network of its own, up and with an empty name server; else the test was run
/// there.
fn inside(test: &str) -> Option<NameServer> {
    if std::env::var_os(INSIDE).is_some() {
        bring_up();
        return Some(NameServer::start());
    }
    let own = std::env::current_exe().unwrap();
    let folder =
        std::env::temp_dir().join(format!("durstream-names-{}-{test}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in [("resolv.conf", RESOLVER), ("nsswitch.conf", ORDER)] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let mount = "mount --bind resolv.conf /etc/resolv.conf && mount --bind nsswitch.conf /etc/nsswitch.conf";
    let run = |script: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["-rnm", "sh", "-c", script]).arg(&own).args([&format!("names::{test}")]);
        unshare.current_dir(&folder).env(INSIDE, "1").output()
    };
    let can = run(mount);
    match can {
        Ok(tried) if tried.status.success() => {
            let ran = run(&format!("{mount} && exec \"$0\" --exact \"$1\" --nocapture")).unwrap();
            let (out, err) =
                (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
            assert!(ran.status.success() && out.contains("1 passed"), "{out}\n{err}");
        }
        other => eprintln!("skipped {test}: no network of its own can be made here: {other:?}"),
    }
    drop(std::fs::remove_dir_all(folder));
    None
}

/// A new network has a loopback device that is down.
#[allow(unsafe_code, reason = "a device is brought up by a call of the system alone")]
fn bring_up() {
    let name: &CStr = c"lo";
    // SAFETY: a name of three bytes fits, and the structure outlives the call.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
        let mut request: libc::ifreq = std::mem::zeroed();
        std::ptr::copy_nonoverlapping(name.as_ptr(), request.ifr_name.as_mut_ptr(), 3);
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        assert_eq!(libc::ioctl(socket, libc::SIOCSIFFLAGS, &request), 0);
        libc::close(socket);
    }
}

/// What is said of a name.
#[derive(Clone)]
enum Known {
    Addresses(Vec<IpAddr>),
    /// Nothing, for as long as it stays so.
    Silence,
}

/// The name server; of the names that it does not know it says that there are none.
#[derive(Clone, Default)]
struct NameServer(Arc<(Mutex<HashMap<String, Known>>, Condvar)>);

impl NameServer {
    fn start() -> Self {
        let server = NameServer::default();
        let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
        let own = server.clone();
        let serve = move || {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                let (own, socket) = (own.clone(), socket.try_clone().unwrap());
                let query = query[..length].to_vec();
                let answer = move || drop(socket.send_to(&own.answer(&query), from));
                std::thread::Builder::new().spawn(answer).unwrap();
            }
        };
        std::thread::Builder::new().spawn(serve).unwrap();
        server
    }

    fn know(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.set(name, Known::Addresses(addresses));
    }

    fn set(&self, name: &str, known: Known) {
        self.0.0.lock().unwrap().insert(name.to_owned(), known);
        self.0.1.notify_all();
    }

    /// RFC 1035, section 4: header, question, and an answer for each address of the kind asked for.
    fn answer(&self, query: &[u8]) -> Vec<u8> {
        let (mut at, mut name) = (12, String::new());
        while query[at] > 0 {
            let label = &query[at + 1..=at + query[at] as usize];
            name += std::str::from_utf8(label).unwrap();
            name.push('.');
            at += label.len() + 1;
        }
        let (is_six, end) = (query[at + 2] == 28, at + 5);
        let names = self.0.0.lock().unwrap();
        let is_silent = |names: &mut HashMap<String, Known>| {
            matches!(names.get(name.trim_end_matches('.')), Some(Known::Silence))
        };
        let names = self.0.1.wait_while(names, is_silent).unwrap();
        let addresses = match names.get(name.trim_end_matches('.')) {
            Some(Known::Addresses(addresses)) => addresses.clone(),
            _ => Vec::new(),
        };
        let code = if addresses.is_empty() { 3 } else { 0 }; // there is no such name
        let fit: Vec<_> = addresses.iter().filter(|address| address.is_ipv6() == is_six).collect();
        let mut answer = query[..end].to_vec();
        answer[2..12].copy_from_slice(&[0x81, 0x80 | code, 0, 1, 0, fit.len() as u8, 0, 0, 0, 0]);
        for address in fit {
            let bytes = match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            answer.extend([0xc0, 12, 0, query[at + 2], 0, 1, 0, 0, 0, 0, 0, bytes.len() as u8]);
            answer.extend(bytes);
        }
        answer
    }
}

fn open(name: &str, options: Options) -> IdempotentProducer {
    let url = format!("http://{name}:8080/odd");
    let stream =
        DurableStream::connect(Options::new().url(url).content_type("text/plain")).unwrap();
    IdempotentProducer::open(&stream, "p", options.retry_max_delay_ms(200u64)).unwrap()
}

fn write(producer: &IdempotentProducer, text: &str) {
    producer.append(text).unwrap();
    assert_eq!(producer.flush().wait().unwrap().delivered, 1);
}

fn stored(server: &Odd) -> String {
    String::from_utf8(server.stored()).unwrap()
}

#[test]
fn a_name_that_is_not_there_yet_is_waited_for() {
    let Some(names) = inside("a_name_that_is_not_there_yet_is_waited_for") else { return };
    let server = Odd::start_at("127.0.0.1:8080", Way::Closing);
    let producer = open("late.test", Options::new());
    producer.append("a").unwrap();
    let error = loop {
        std::thread::yield_now();
        if let Some(error) = producer.snapshot().last_error {
            break error;
        }
    };
    assert!(error.to_string().contains("late.test"), "{error}");
    assert!(error.definite(), "{error:?}");
    names.know("late.test", &["127.0.0.1"]);
    assert_eq!(producer.flush().wait().unwrap().delivered, 1);
    assert_eq!(stored(&server), "a");
}

#[test]
fn names_that_get_no_answer_hold_nobody_else_up() {
    let Some(names) = inside("names_that_get_no_answer_hold_nobody_else_up") else { return };
    let server = Odd::start_at("127.0.0.1:8080", Way::Closing);
    let silent: Vec<_> = (0..4).map(|n| format!("silent-{n}.test")).collect();
    silent.iter().for_each(|name| names.set(name, Known::Silence));
    names.know("good.test", &["127.0.0.1"]);
    let waiting: Vec<_> = silent.iter().map(|name| open(name, Options::new())).collect();
    waiting.iter().for_each(|producer| drop(producer.append("b").unwrap()));
    let good = open("good.test", Options::new());
    (0..10).for_each(|_| write(&good, "a"));
    assert!(waiting.iter().all(|producer| producer.stats().pending == 1));
    assert_eq!(stored(&server), "a".repeat(10));
    // They get what they waited for, in order behind.
    silent.iter().for_each(|name| names.know(name, &["127.0.0.1"]));
    for producer in &waiting {
        assert_eq!(producer.flush().wait().unwrap().delivered, 1);
    }
}

#[test]
fn a_host_that_moved_is_found_again() {
    let Some(names) = inside("a_host_that_moved_is_found_again") else { return };
    let old = Odd::start_at("127.0.0.2:8080", Way::Closing);
    names.know("moving.test", &["127.0.0.2"]);
    let producer = open("moving.test", Options::new());
    write(&producer, "a");
    let new = Odd::start_at("127.0.0.3:8080", Way::Closing);
    names.know("moving.test", &["127.0.0.3"]);
    old.end();
    write(&producer, "b");
    assert_eq!((stored(&old), stored(&new)), ("a".into(), "b".into()));
}

#[test]
fn a_host_with_addresses_of_six_alone_is_written_to() {
    let Some(names) = inside("a_host_with_addresses_of_six_alone_is_written_to") else { return };
    let server = Odd::start_at("[::1]:8080", Way::Closing);
    names.know("six.test", &["::1"]);
    write(&open("six.test", Options::new()), "a");
    assert_eq!(stored(&server), "a");
}

/// The system gives the addresses in an order of its own: 127.0.0.1 is the first.
#[test]
fn where_nothing_listens_at_one_address_the_other_one_is_taken() {
    let test = "where_nothing_listens_at_one_address_the_other_one_is_taken";
    let Some(names) = inside(test) else { return };
    let server = Odd::start_at("127.0.0.8:8080", Way::Closing);
    names.know("refused.test", &["127.0.0.1", "127.0.0.8"]);
    write(&open("refused.test", Options::new()), "a");
    assert_eq!(stored(&server), "a");
}

/// As behind a firewall: what is sent there vanishes.
#[test]
fn where_one_address_is_silent_the_other_one_is_taken() {
    let Some(names) = inside("where_one_address_is_silent_the_other_one_is_taken") else { return };
    let _hole = Hole::start("127.0.0.1:8080".parse().unwrap());
    let server = Odd::start_at("127.0.0.8:8080", Way::Closing);
    names.know("hole.test", &["127.0.0.1", "127.0.0.8"]);
    write(&open("hole.test", Options::new().request_timeout_ms(2_000u64)), "a");
    assert_eq!(stored(&server), "a");
}

/// An address that answers nobody: its queue of connections is full.
struct Hole {
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl Hole {
    fn start(address: SocketAddr) -> Self {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(0).unwrap();
        let mut queued = Vec::new();
        let wait = std::time::Duration::from_millis(300);
        while let Ok(stream) = TcpStream::connect_timeout(&address, wait) {
            queued.push(stream);
        }
        Hole { _listener: socket.into(), _queued: queued }
    }
}
