//! Why connections were refused and closed: closed sets, for metrics and logs.

/// Why a connection never became a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefuseReason {
    /// As many sockets or connections as allowed are open.
    ConnectionLimit,
    /// No whole CONNECT came in time.
    ConnectTime,
    /// The client closed before its CONNECT was whole.
    ClosedEarly,
    /// The CONNECT, or what came instead, broke the standard.
    Violation,
    /// The owner's inbox was full.
    WorkerBusy,
    /// A newer connection of the same client was there first.
    Overtaken,
    /// The gateway stops.
    Stopping,
    /// The client takes no packet as large as the answer.
    Unanswerable,
    /// The operating system refused.
    System,
}

impl RefuseReason {
    pub(crate) const ALL: [Self; 9] = [
        Self::ConnectionLimit,
        Self::ConnectTime,
        Self::ClosedEarly,
        Self::Violation,
        Self::WorkerBusy,
        Self::Overtaken,
        Self::Stopping,
        Self::Unanswerable,
        Self::System,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectionLimit => "connection_limit",
            Self::ConnectTime => "connect_time",
            Self::ClosedEarly => "closed_early",
            Self::Violation => "violation",
            Self::WorkerBusy => "worker_busy",
            Self::Overtaken => "overtaken",
            Self::Stopping => "stopping",
            Self::Unanswerable => "unanswerable",
            Self::System => "system",
        }
    }
}

/// Why a session's connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The client sent DISCONNECT.
    Disconnect,
    /// The client closed without one.
    ClosedByClient,
    /// The network, as the operating system says.
    Network,
    /// Nothing came for one and a half keep-alive times.
    KeepAlive,
    /// The same client connected anew.
    TakenOver,
    /// It broke the standard.
    Violation,
    /// A 3.1.1 message that can never be taken: there is no other answer.
    Unacceptable,
    /// It does not read what it is sent.
    SlowReader,
    /// Half-read packets take all the memory that they may.
    NoMemory,
    /// The gateway stops.
    Stopping,
}

impl CloseReason {
    pub(crate) const ALL: [Self; 10] = [
        Self::Disconnect,
        Self::ClosedByClient,
        Self::Network,
        Self::KeepAlive,
        Self::TakenOver,
        Self::Violation,
        Self::Unacceptable,
        Self::SlowReader,
        Self::NoMemory,
        Self::Stopping,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnect => "disconnect",
            Self::ClosedByClient => "closed_by_client",
            Self::Network => "network",
            Self::KeepAlive => "keep_alive",
            Self::TakenOver => "taken_over",
            Self::Violation => "violation",
            Self::Unacceptable => "unacceptable_message",
            Self::SlowReader => "slow_reader",
            Self::NoMemory => "no_memory",
            Self::Stopping => "stopping",
        }
    }
}
