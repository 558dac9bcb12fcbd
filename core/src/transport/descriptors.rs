//! The process's open sockets, asked what they know of their connections.
#![allow(unsafe_code, reason = "a socket is asked for its state")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::runtime::chance::real_now;

/// A connection's own end, and the other one.
type Ends = (SocketAddr, SocketAddr);

/// The descriptors of the process's connections: reqwest gives out none.
#[derive(Default)]
pub(super) struct OpenSockets {
    by_ends: HashMap<Ends, i32>,
    looked: Option<Instant>,
}

/// A scan of a process's descriptors takes milliseconds if there are many: no more often than this,
/// however many requests stand still.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl OpenSockets {
    pub(super) fn received_ago(&mut self, ends: Ends) -> Option<Duration> {
        let known = |sockets: &Self| {
            let descriptor = *sockets.by_ends.get(&ends)?;
            (ends_of(descriptor) == Some(ends)).then_some(descriptor)
        };
        let mut descriptor = known(self);
        if descriptor.is_none() && self.looked.is_none_or(|at| at.elapsed() >= LOOK_AGAIN) {
            self.look();
            descriptor = known(self);
        }
        last_data(descriptor?)
    }

    fn look(&mut self) {
        self.looked = Some(real_now());
        self.by_ends.clear();
        let Ok(files) = std::fs::read_dir("/proc/self/fd") else { return };
        let descriptors = files.filter_map(|file| file.ok()?.file_name().to_str()?.parse().ok());
        self.by_ends = descriptors.filter_map(|own| Some((ends_of(own)?, own))).collect();
    }
}

fn ends_of(descriptor: i32) -> Option<Ends> {
    // The other end first: most descriptors are no connections, and have none.
    let other = address(libc::getpeername, descriptor)?;
    Some((address(libc::getsockname, descriptor)?, other))
}

fn address(
    ask: unsafe extern "C" fn(i32, *mut libc::sockaddr, *mut libc::socklen_t) -> i32,
    descriptor: i32,
) -> Option<SocketAddr> {
    // SAFETY: the storage is large enough for any address, and zeroes are a valid one of none.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = size_of_val(&storage) as libc::socklen_t;
    // SAFETY: the pointers are to storage of `length` bytes; a descriptor that is no socket fails.
    if unsafe { ask(descriptor, (&raw mut storage).cast(), &raw mut length) } != 0 {
        return None;
    }
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is what was written.
            let v4 = unsafe { &*(&raw const storage).cast::<libc::sockaddr_in>() };
            let ip = std::net::Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some((ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*(&raw const storage).cast::<libc::sockaddr_in6>() };
            let ip = std::net::Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let (port, flow) = (u16::from_be(v6.sin6_port), v6.sin6_flowinfo);
            Some(std::net::SocketAddrV6::new(ip, port, flow, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn last_data(descriptor: i32) -> Option<Duration> {
    // SAFETY: zeroes are a valid value of this structure of numbers.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the pointers are to `info` and its length.
    let failed = unsafe {
        let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
        libc::getsockopt(descriptor, level, name, (&raw mut info).cast(), &raw mut length)
    };
    (failed == 0).then(|| Duration::from_millis(info.tcpi_last_data_recv.into()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_socket_tells_when_bytes_came_in() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let own = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut other, _) = listener.accept().unwrap();
            let ends = (own.local_addr().unwrap(), own.peer_addr().unwrap());
            let mut open = OpenSockets::default();
            std::thread::sleep(Duration::from_millis(60));
            let quiet = open.received_ago(ends).unwrap();
            assert!(quiet >= Duration::from_millis(50), "{quiet:?}");
            other.write_all(b"x").unwrap();
            let mut waited = 0;
            while open.received_ago(ends).unwrap() >= quiet && waited < 1_000 {
                std::thread::sleep(Duration::from_millis(1));
                waited += 1;
            }
            assert!(waited < 1_000, "what came in was seen");
            assert_eq!(open.received_ago((ends.0, "192.0.2.1:1".parse().unwrap())), None);
            // A closed descriptor is not asked; its number may be another connection's.
            drop(own);
            assert_eq!(open.received_ago(ends), None);
        }
    }
}
