//! What a line of the log that wants attention is about: the word that ends it, and that has a row in
//! `docs/errors.md`. Lines about a write or a producer's end have the reason or the error's code there.

macro_rules! notices {
    ($($(#[doc = $doc:literal])* $variant:ident = $word:literal;)*) => {
        /// What a line is about where it is about no error and no write.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[cfg_attr(
            any(windows, target_vendor = "apple"),
            allow(dead_code, reason = "these always have certificates of authorities")
        )]
        pub(crate) enum Notice { $($(#[doc = $doc])* $variant,)* }

        impl Notice {
            /// Every notice, in the order of the page.
            #[cfg(test)]
            pub(crate) const ALL: &'static [Notice] = &[$(Notice::$variant,)*];

            /// The word at the end of the line.
            pub(crate) const fn word(self) -> &'static str {
                match self { $(Notice::$variant => $word,)* }
            }

            /// What it means, as the reference page says it.
            #[cfg(test)]
            pub(crate) fn meaning(self) -> &'static str {
                match self { $(Notice::$variant => concat!($($doc),*),)* }
            }
        }
    };
}

notices! {
    /// No connection to the host came about: nobody listens there, or the network does not lead there.
    Unreachable = "unreachable";
    /// No address was found for the name of the host.
    NoAddress = "no-address";
    /// The proxy on the way to the host cannot be reached, or lets nothing through.
    Proxy = "proxy";
    /// TLS did not come about: mostly a certificate that is not accepted, by this side or by the other.
    Tls = "tls";
    /// For 750 ms nothing came of a request: no answer, no connection, or no address.
    Slow = "slow";
    /// Several requests in a row were cut off, or answered with an error of the server.
    Failing = "failing";
    /// The server forgot the producer: it was restarted without its memory, or with older data.
    SessionLost = "session-lost";
    /// The process stood still: it was stopped, its machine slept, or the clock jumped.
    ClockJump = "clock-jump";
    /// Writes were not delivered by the end of the process, or of its `shutdown`.
    StillPending = "still-pending";
    /// A function of the program's own failed within a callback.
    CallbackFailed = "callback-failed";
    /// The log was slower than its lines came.
    LinesDropped = "lines-dropped";
    /// The stream's own lifetime had run out, and it was created again.
    StreamCreatedAgain = "stream-created-again";
    /// A `traceparent` that a change came with is none.
    TraceContext = "trace-context";
    /// A file of certificates was replaced by what cannot be read.
    CertificateFile = "certificate-file";
    /// The system has no certificates of authorities.
    NoAuthorities = "no-authorities";
}
