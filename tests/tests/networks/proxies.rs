//! Proxies between a program and its server, as an option names them.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use super::{front_of, options, write_and_read};
use durstream_core::DurableStream;
use durstream_tests::network::authority::Authority;
use durstream_tests::network::forward::ForwardProxy;
use durstream_tests::server::free_address;
use durstream_tests::server_url;

/// `user:p@ss word`, as it is sent.
const CREDENTIALS: &str = "Basic dXNlcjpwQHNzIHdvcmQ=";

#[test]
fn writes_go_through_a_proxy() {
    let proxy = ForwardProxy::start(Some(CREDENTIALS)).unwrap();
    let with = |user| format!("http://{user}{}", proxy.address());
    write_and_read(options(&server_url()).proxy(with("user:p%40ss%20word@"))).unwrap();
    assert!(proxy.asked()[0].starts_with("PUT http://127.0.0.1:"), "{:?}", proxy.asked());
    // Without a scheme, as people write it.
    let bare = format!("user:p%40ss%20word@{}", proxy.address());
    write_and_read(options(&server_url()).proxy(bare)).unwrap();
    let count = proxy.asked().len();
    assert!(count >= 2, "{:?}", proxy.asked());
    write_and_read(options(&server_url()).proxy("none")).unwrap();
    assert_eq!(proxy.asked().len(), count);
}

#[test]
fn tls_goes_through_a_tunnel() {
    let authority = Authority::new("an authority").unwrap();
    let front = front_of(&authority);
    let proxy = ForwardProxy::start(Some(CREDENTIALS)).unwrap();
    let through = || options(&front.url()).ca_pem(authority.pem());
    let url = format!("http://user:p%40ss%20word@{}", proxy.address());
    write_and_read(through().proxy(url.as_str())).unwrap();
    let expected = format!("CONNECT localhost:{} HTTP/1.1", front.port());
    assert!(proxy.asked().iter().all(|line| *line == expected), "{:?}", proxy.asked());
    // What is wrong behind the proxy is not the proxy's.
    let error = write_and_read(options(&front.url()).proxy(url)).unwrap_err();
    assert!(error.message().contains("certificate is not accepted"), "{error}");
}

#[test]
fn what_is_wrong_with_a_proxy_is_told() {
    let authority = Authority::new("an authority").unwrap();
    let front = front_of(&authority);
    let proxy = ForwardProxy::start(Some(CREDENTIALS)).unwrap();
    let closed = "http://user:s3cret@127.0.0.1:1";
    let wrong = format!("http://user:s3cret@{}", proxy.address());
    for base in [server_url(), front.url()] {
        for (proxy, told) in [
            (closed, "no connection through the proxy http://127.0.0.1:1: "),
            (&wrong, "does not accept the user and password"),
            (
                "http://no-such-host.invalid:3128",
                "no connection through the proxy http://no-such-host.invalid:3128: ",
            ),
        ] {
            let options = options(&base).ca_pem(authority.pem()).proxy(proxy);
            let error = DurableStream::create(options, "").wait().unwrap_err();
            println!("{error}");
            assert!(error.message().contains(told) && error.definite(), "{told}: {error:?}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}

/// `user` and `secret`, as `htpasswd` writes them.
const PASSWORDS: &str = "user:$apr1$durstrea$LqTcbEBTU2uvsia/ltEna1\n";

/// A proxy that people run, with the user `user` and the password `secret`.
struct Known {
    child: Child,
    address: SocketAddr,
}

impl Known {
    /// `None` where the system has no such program.
    fn start(name: &str, configuration: fn(SocketAddr, &str) -> String) -> Option<Self> {
        let places = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];
        let programs = places.iter().map(|place| std::path::Path::new(place).join(name));
        let program = programs.into_iter().find(|program| program.exists())?;
        let folder = std::env::temp_dir().join(format!("durstream-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (address, file) = (free_address().unwrap(), folder.join("configuration"));
        std::fs::write(folder.join("passwords"), PASSWORDS).unwrap();
        std::fs::write(&file, configuration(address, &folder.display().to_string())).unwrap();
        let mut command = Command::new(program);
        // Both stay in the foreground so.
        command.args(if name == "squid" { ["-N", "-f"] } else { ["-d", "-c"] }).arg(file);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut known = Known { child, address };
        while TcpStream::connect(address).is_err() {
            assert!(known.child.try_wait().unwrap().is_none(), "{name} ended");
            std::thread::yield_now();
        }
        Some(known)
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn tinyproxy(address: SocketAddr, _: &str) -> String {
    let port = address.port();
    format!("Port {port}\nListen 127.0.0.1\nAllow 127.0.0.1\nBasicAuth user secret\n")
}

fn squid(address: SocketAddr, folder: &str) -> String {
    format!(
        "http_port {address}\npid_filename {folder}/pid\ncoredump_dir {folder}\ncache deny all\n\
         access_log none\ncache_log /dev/null\nshutdown_lifetime 0 seconds\n\
         auth_param basic program /usr/lib/squid/basic_ncsa_auth {folder}/passwords\nacl known proxy_auth user\n\
         http_access allow known\nhttp_access deny all\n"
    )
}

#[test]
fn proxies_that_people_run_are_gone_through() {
    let authority = Authority::new("an authority").unwrap();
    let front = front_of(&authority);
    let refused = "does not accept the user and password";
    let known = [
        ("tinyproxy", tinyproxy as fn(_, &_) -> _, ""), // it answers 401, as if it were the server
        ("squid", squid, refused),
    ];
    for (name, configuration, refused) in known {
        let Some(proxy) = Known::start(name, configuration) else {
            eprintln!("skipped {name}: it is not installed here");
            continue;
        };
        for base in [server_url(), front.url()] {
            let with = |user| {
                let proxy = format!("http://{user}{}", proxy.address);
                write_and_read(options(&base).ca_pem(authority.pem()).proxy(proxy))
            };
            with("user:secret@").unwrap();
            for (user, told) in [("other:secret@", refused), ("", "wants a user and a password")] {
                let error = with(user).unwrap_err();
                assert!(error.message().contains(told), "{name}, {base}, {user}: {error}");
            }
        }
    }
}
