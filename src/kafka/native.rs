//! The `unsafe` of the project, but for one system call: what rdkafka's safe producer cannot do without an allocation or a lock per record.
//!
//! Owns a producer with its report queue, cached topic handles and native headers. rdkafka's `send` allocates the
//! topic's name and looks it up per record; its `poll` neither returns after a batch nor shows where one ends, so a
//! worker would be woken per record. Knows nothing of windows, workers or what a report means.

#![allow(unsafe_code, reason = "librdkafka's C interface; every block says why it is sound")]

use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::types::{
    RDKafkaErrorCode, RDKafkaEvent, RDKafkaQueue, RDKafkaRespErr, RDKafkaTopic, RDKafkaType,
};
use rdkafka_sys as sys;
use rdkafka_sys::rd_kafka_vtype_t as vtype;

// As in the bindings, but for the type of the codes: a broker newer than the bindings may send one that their enum
// does not have (it comes back from here as the error of an event or of a topic), and such a value must never exist.
unsafe extern "C" {
    fn rd_kafka_event_error(event: *mut RDKafkaEvent) -> c_int;
    fn rd_kafka_producev(client: *mut sys::rd_kafka_t, ...) -> c_int;
}

/// Calls of rdkafka's own, which it makes while a client is created.
struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(level, facility, line);
    }
}

/// Writes one of librdkafka's log lines as ours.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => {
            tracing::error!(target: "librdkafka", facility, "{line}");
        }
        // Comments on settings that the code chose knowingly (gapless is called experimental) help no operator.
        RDKafkaLogLevel::Warning if facility == "CONFWARN" => {
            tracing::debug!(target: "librdkafka", facility, "{line}");
        }
        RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{line}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "librdkafka", facility, "{line}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{line}"),
    }
}

/// How long a broker has for its answer to the question whether it is there.
const ASK_FOR: Duration = Duration::from_secs(1);

/// Tells a client its bootstrap servers again if no broker answers it within a second; returns whether one did.
pub(crate) fn rebootstrap<C: ClientContext>(client: &Client<C>, servers: &str) -> bool {
    // One that lists no broker is what this is about.
    if client.fetch_metadata(None, ASK_FOR).is_ok_and(|said| !said.brokers().is_empty()) {
        return true;
    }
    if let Ok(list) = CString::new(servers) {
        tracing::warn!(servers, "no broker answers: librdkafka is told its bootstrap servers again");
        // SAFETY: the client is alive, and the list is copied.
        unsafe { sys::rd_kafka_brokers_add(client.native_ptr(), list.as_ptr()) };
    }
    false
}

/// librdkafka's report about one record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    /// What went with the record.
    pub(crate) opaque: usize,
    /// Tells topics of this producer apart within one event, nothing more.
    pub(crate) topic: usize,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// None: librdkafka calls it a success.
    pub(crate) error: Option<RDKafkaErrorCode>,
}

/// Who hears what a producer has to say.
pub(crate) trait Listener {
    /// About one record; the records of a batch come one after the other within one [`Producer::serve`].
    fn report(&mut self, report: Report);
    /// About the producer as a whole.
    fn error(&mut self, code: RDKafkaErrorCode, reason: &str);
}

/// A librdkafka producer.
pub(crate) struct Producer {
    // Before the client: librdkafka wants its queues returned before it is destroyed.
    queue: Queue,
    client: Client<Context>,
}

struct Queue(NonNull<RDKafkaQueue>);

// SAFETY: librdkafka's queues may be used from any thread, at the same time.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: this reference to the queue came from `rd_kafka_queue_get_main` and is given back once.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

struct Event(NonNull<RDKafkaEvent>);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event came from `rd_kafka_queue_poll` and is destroyed once; nothing borrowed from it is left.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

impl Producer {
    /// Starts librdkafka's threads; connects in the background.
    pub(crate) fn new(config: &ClientConfig) -> Result<Self, String> {
        let native = config.create_native_config().map_err(|error| error.to_string())?;
        let events = sys::RD_KAFKA_EVENT_DR | sys::RD_KAFKA_EVENT_ERROR;
        // SAFETY: `native` is a live configuration that `Client::new` takes over afterwards.
        unsafe { sys::rd_kafka_conf_set_events(native.ptr(), events) };
        let client = Client::new(config, native, RDKafkaType::RD_KAFKA_PRODUCER, Context)
            .map_err(|error| error.to_string())?;
        // SAFETY: the client is alive; the call returns a new reference to its main queue.
        let queue = unsafe { sys::rd_kafka_queue_get_main(client.native_ptr()) };
        let queue = Queue(NonNull::new(queue).ok_or("no main queue")?);
        Ok(Self { queue, client })
    }

    /// Waits up to `timeout` for one event, tells `listener` all of it, and returns; false if none came.
    pub(crate) fn serve(&self, timeout: Duration, listener: &mut impl Listener) -> bool {
        let timeout_ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the queue is alive as long as `self`.
        let event = unsafe { sys::rd_kafka_queue_poll(self.queue.0.as_ptr(), timeout_ms) };
        let Some(event) = NonNull::new(event).map(Event) else { return false };
        // SAFETY: the event is alive until the end of this function, here and below.
        match unsafe { sys::rd_kafka_event_type(event.0.as_ptr()) } {
            sys::RD_KAFKA_EVENT_DR => reports(&event, listener),
            sys::RD_KAFKA_EVENT_ERROR => {
                // SAFETY: as above; the text belongs to the event and is not kept.
                let (code, reason) = unsafe {
                    (
                        rd_kafka_event_error(event.0.as_ptr()),
                        sys::rd_kafka_event_error_string(event.0.as_ptr()),
                    )
                };
                listener.error(error_of(code).unwrap_or(RDKafkaErrorCode::NoError), &text(reason));
            }
            sys::RD_KAFKA_EVENT_LOG => forward_log(&event),
            other => tracing::debug!(event = other, "librdkafka event ignored"),
        }
        true
    }

    /// As the function of this name.
    pub(crate) fn rebootstrap(&self, servers: &str) -> bool {
        rebootstrap(&self.client, servers)
    }

    /// Makes a [`Self::serve`] that waits return at once.
    pub(crate) fn interrupt(&self) {
        // SAFETY: the queue is alive as long as `self`.
        unsafe { sys::rd_kafka_queue_yield(self.queue.0.as_ptr()) }
    }

    /// What made the producer unusable, if anything did.
    pub(crate) fn fatal(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.client.fatal_error()
    }

    /// Sends without lingering and waits until no record is without a report; false if some still are after `timeout`.
    /// Another thread must serve meanwhile.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let timeout_ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the client is alive.
        error_of(unsafe { sys::rd_kafka_flush(self.client.native_ptr(), timeout_ms) } as c_int).is_none()
    }

    /// Gives up all records; each gets a report that says so.
    pub(crate) fn purge(&self) {
        let all = sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_INFLIGHT;
        // SAFETY: the client is alive. The call only fails for a consumer or for unknown flags.
        unsafe { sys::rd_kafka_purge(self.client.native_ptr(), all) };
    }
}

fn reports(event: &Event, listener: &mut impl Listener) {
    loop {
        // SAFETY: the event is alive; a message that it returns is valid until the event is destroyed.
        let message = unsafe { sys::rd_kafka_event_message_next(event.0.as_ptr()) };
        if message.is_null() {
            return;
        }
        // SAFETY: the message is valid, see above. The code is read as a number: see `rd_kafka_producev` above.
        let report = unsafe {
            Report {
                opaque: (*message)._private as usize,
                topic: (*message).rkt as usize,
                partition: (*message).partition,
                offset: (*message).offset,
                error: error_of((&raw const (*message).err).cast::<c_int>().read()),
            }
        };
        listener.report(report);
    }
}

fn error_of(code: c_int) -> Option<RDKafkaErrorCode> {
    (code != 0)
        .then(|| RDKafkaRespErr::try_from(code).map_or(RDKafkaErrorCode::Unknown, RDKafkaErrorCode::from))
}

fn forward_log(event: &Event) {
    let (mut facility, mut line, mut level) = (std::ptr::null(), std::ptr::null(), 0);
    // SAFETY: the event is alive and the three places are ours; the texts belong to the event and are not kept.
    if unsafe { sys::rd_kafka_event_log(event.0.as_ptr(), &raw mut facility, &raw mut line, &raw mut level) }
        == 0
    {
        log(log_level(level), text(facility).trim(), text(line).trim());
    }
}

/// librdkafka's levels are those of syslog.
fn log_level(level: c_int) -> RDKafkaLogLevel {
    match level {
        ..=3 => RDKafkaLogLevel::Error,
        4 => RDKafkaLogLevel::Warning,
        5 | 6 => RDKafkaLogLevel::Info,
        _ => RDKafkaLogLevel::Debug,
    }
}

fn text<'a>(text: *const std::ffi::c_char) -> std::borrow::Cow<'a, str> {
    // SAFETY: librdkafka's texts are null or end with a zero byte, and live as long as their event, which every
    // caller keeps until it is done with the text.
    if text.is_null() { "".into() } else { unsafe { CStr::from_ptr(text) }.to_string_lossy() }
}

/// What goes to one partition in one call.
pub(crate) struct Outgoing<'a> {
    pub(crate) partition: i32,
    pub(crate) key: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) headers: &'a [(&'a str, &'a [u8])],
    pub(crate) timestamp_ms: i64,
    pub(crate) opaque: usize,
}

/// A topic of one producer, looked up once.
pub(crate) struct Topic {
    handle: NonNull<RDKafkaTopic>,
    producer: Arc<Producer>,
}

// SAFETY: librdkafka's topic handles may be used from any thread, at the same time; the producer is kept alive.
unsafe impl Send for Topic {}
// SAFETY: as above.
unsafe impl Sync for Topic {}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: the handle came from `rd_kafka_topic_new` and is given back once, while its producer is alive.
        unsafe { sys::rd_kafka_topic_destroy(self.handle.as_ptr()) }
    }
}

impl Topic {
    /// Opens a topic; librdkafka asks for its metadata in the background.
    pub(crate) fn open(producer: &Arc<Producer>, name: &str) -> Result<Self, String> {
        let name = CString::new(name).map_err(|error| error.to_string())?;
        let client = producer.client.native_ptr();
        // SAFETY: client and name are alive; no configuration means the client's default one.
        let handle = unsafe { sys::rd_kafka_topic_new(client, name.as_ptr(), std::ptr::null_mut()) };
        let handle = NonNull::new(handle).ok_or("librdkafka refused the name")?;
        Ok(Self { handle, producer: Arc::clone(producer) })
    }

    /// Gives one record to librdkafka, which copies it. Allocates nothing on this side.
    ///
    /// # Errors
    /// librdkafka's code; the record was then not taken and will not be reported.
    pub(crate) fn produce(&self, record: &Outgoing<'_>) -> Result<(), RDKafkaErrorCode> {
        let headers = Headers::new(record.headers)?;
        // SAFETY: client and handle belong together and are alive. Every tag is followed by the types that
        // rdkafka.h names for it; `MSG_F_COPY` makes librdkafka copy payload and key before it returns, and it never
        // writes to them; empty slices have a pointer that is not null, so that empty does not become null.
        let code = unsafe {
            rd_kafka_producev(
                self.producer.client.native_ptr(),
                vtype::RD_KAFKA_VTYPE_RKT,
                self.handle.as_ptr(),
                vtype::RD_KAFKA_VTYPE_PARTITION,
                record.partition,
                vtype::RD_KAFKA_VTYPE_MSGFLAGS,
                sys::RD_KAFKA_MSG_F_COPY,
                vtype::RD_KAFKA_VTYPE_VALUE,
                record.payload.as_ptr().cast_mut().cast::<c_void>(),
                record.payload.len(),
                vtype::RD_KAFKA_VTYPE_KEY,
                record.key.as_ptr().cast_mut().cast::<c_void>(),
                record.key.len(),
                vtype::RD_KAFKA_VTYPE_TIMESTAMP,
                record.timestamp_ms,
                vtype::RD_KAFKA_VTYPE_OPAQUE,
                record.opaque as *mut c_void,
                vtype::RD_KAFKA_VTYPE_HEADERS,
                headers.as_ptr(),
                vtype::RD_KAFKA_VTYPE_END,
            )
        };
        match error_of(code) {
            None => {
                headers.taken();
                Ok(())
            }
            Some(code) => Err(code),
        }
    }
}

/// Native headers on their way into a record; freed unless a record took them.
struct Headers(Option<NonNull<sys::rd_kafka_headers_t>>);

impl Headers {
    fn new(pairs: &[(&str, &[u8])]) -> Result<Self, RDKafkaErrorCode> {
        if pairs.is_empty() {
            return Ok(Self(None));
        }
        // SAFETY: plain allocation.
        let list = NonNull::new(unsafe { sys::rd_kafka_headers_new(pairs.len()) });
        let headers = Self(Some(list.ok_or(RDKafkaErrorCode::Fail)?));
        for (name, value) in pairs {
            // A slice is never longer than `isize::MAX` bytes.
            let (name_len, value_len) = (name.len().cast_signed(), value.len().cast_signed());
            // SAFETY: the list is ours; name and value are copied, and their lengths are given, so that neither
            // needs to end with a zero byte.
            let code = unsafe {
                let (name, value) = (name.as_ptr().cast(), value.as_ptr().cast());
                sys::rd_kafka_header_add(headers.as_ptr(), name, name_len, value, value_len)
            };
            if let Some(code) = error_of(code as c_int) {
                return Err(code);
            }
        }
        Ok(headers)
    }

    fn as_ptr(&self) -> *mut sys::rd_kafka_headers_t {
        self.0.map_or(std::ptr::null_mut(), NonNull::as_ptr)
    }

    /// The record owns them now.
    fn taken(mut self) {
        self.0 = None;
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        if let Some(list) = self.0 {
            // SAFETY: the list is ours: librdkafka takes it over only when a record was accepted.
            unsafe { sys::rd_kafka_headers_destroy(list.as_ptr()) }
        }
    }
}

/// librdkafka's mock cluster, with the client that runs it.
#[cfg(feature = "embedded")]
pub(crate) struct MockCluster(Client<Context>);

#[cfg(feature = "embedded")]
impl MockCluster {
    /// Starts `brokers` brokers; a new group's first rebalance waits `group_delay` for more members.
    pub(crate) fn new(brokers: u32, group_delay: Duration) -> rdkafka::error::KafkaResult<Self> {
        let mut config = ClientConfig::new();
        config.set("test.mock.num.brokers", brokers.to_string());
        let native = config.create_native_config()?;
        let client = Client::new(&config, native, RDKafkaType::RD_KAFKA_PRODUCER, Context)?;
        let delay_ms = i32::try_from(group_delay.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the client is alive, and the setting above makes it own a cluster for as long as it lives.
        unsafe {
            let cluster = sys::rd_kafka_handle_mock_cluster(client.native_ptr());
            sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, delay_ms);
        }
        Ok(Self(client))
    }

    pub(crate) fn get(&self) -> rdkafka::mocking::MockCluster<'_, impl ClientContext> {
        self.0.mock_cluster().expect("the client was configured with one")
    }
}
