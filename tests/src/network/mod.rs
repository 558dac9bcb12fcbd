//! What stands between a program and its server in real networks: TLS with certificates made here,
//! and proxies.

pub mod authority;
pub mod forward;
pub mod front;
