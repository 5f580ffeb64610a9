//! Who may do what on a real Kafka: rdkafka's admin client knows no ACLs, librdkafka's does.

use std::ffi::{CStr, CString, c_char};
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka_sys as sys;

/// A controller answers in milliseconds; one that elects itself in seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Everybody, in an ACL.
pub const ANYONE: &str = "User:*";

/// What an ACL is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// The topic of this name.
    Topic(&'a str),
    /// The consumer group of this id.
    Group(&'a str),
    /// All consumer groups whose ids begin so.
    GroupsThatBegin(&'a str),
}

/// One ACL, for clients of every host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acl<'a> {
    /// What it is about.
    pub resource: Resource<'a>,
    /// Whom it concerns: `User:name`, or [`ANYONE`].
    pub principal: &'a str,
    /// What he may do, or may not.
    pub verb: Verb,
}

/// What an ACL says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Reading is allowed, and asking what there is with it.
    MayRead,
    /// Reading is forbidden, whatever else is allowed.
    MayNotRead,
    /// Everything is allowed.
    MayDoAll,
}

/// Makes ACLs, all or those before the first that is refused.
///
/// # Errors
/// If the cluster has no authorizer, does not answer, or refuses: its words.
pub fn create(client: &ClientConfig, acls: &[Acl<'_>]) -> Result<(), String> {
    let asker = Asker::new(client)?;
    let bindings = acls.iter().map(Binding::of).collect::<Result<Vec<_>, _>>()?;
    let mut raw: Vec<_> = bindings.iter().map(|binding| binding.0.as_ptr()).collect();
    // SAFETY: handle, queue and bindings are valid; librdkafka copies the bindings.
    unsafe {
        sys::rd_kafka_CreateAcls(asker.rk(), raw.as_mut_ptr(), raw.len(), ptr::null(), asker.queue.as_ptr());
    }
    let answer = asker.answer()?;
    // SAFETY: the event is the answer to the request above; what it lends lives as long as it does.
    unsafe {
        let result = sys::rd_kafka_event_CreateAcls_result(answer.0.as_ptr());
        let mut count = 0;
        let acls = sys::rd_kafka_CreateAcls_result_acls(result, &mut count);
        (0..count).try_for_each(|number| check(sys::rd_kafka_acl_result_error(*acls.add(number))))
    }
}

/// Removes every ACL that names a topic.
///
/// # Errors
/// As [`create`].
pub fn remove_of_topic(client: &ClientConfig, topic: &str) -> Result<(), String> {
    let asker = Asker::new(client)?;
    let filter = Binding::all_of(topic)?;
    let mut raw = [filter.0.as_ptr()];
    // SAFETY: handle, queue and filter are valid; librdkafka copies the filter.
    unsafe {
        sys::rd_kafka_DeleteAcls(asker.rk(), raw.as_mut_ptr(), raw.len(), ptr::null(), asker.queue.as_ptr());
    }
    let answer = asker.answer()?;
    // SAFETY: the event is the answer to the request above; what it lends lives as long as it does.
    unsafe {
        let result = sys::rd_kafka_event_DeleteAcls_result(answer.0.as_ptr());
        let mut count = 0;
        let responses = sys::rd_kafka_DeleteAcls_result_responses(result, &mut count);
        (0..count).try_for_each(|number| {
            check(sys::rd_kafka_DeleteAcls_result_response_error(*responses.add(number)))
        })
    }
}

/// A client that asks one question, and where the answer comes.
struct Asker {
    // Destroyed before the client that it belongs to.
    queue: Queue,
    client: BaseProducer,
}

impl Asker {
    fn new(config: &ClientConfig) -> Result<Self, String> {
        let client: BaseProducer = config.create().map_err(|error| error.to_string())?;
        // SAFETY: the handle is valid.
        let queue = unsafe { sys::rd_kafka_queue_new(client.client().native_ptr()) };
        Ok(Self { queue: Queue(NonNull::new(queue).expect("librdkafka ends where memory does")), client })
    }

    fn rk(&self) -> *mut sys::rd_kafka_t {
        self.client.client().native_ptr()
    }

    /// The answer to the only request; an error of the whole request is one.
    fn answer(&self) -> Result<Event, String> {
        let wait_ms = i32::try_from(ANSWER_WITHIN.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is valid; the event is ours.
        let event = unsafe { sys::rd_kafka_queue_poll(self.queue.as_ptr(), wait_ms) };
        let event = NonNull::new(event)
            .map(Event)
            .ok_or_else(|| format!("no answer within {} s", ANSWER_WITHIN.as_secs()))?;
        // SAFETY: the event is valid, and so is its text as long as it lives.
        unsafe {
            match sys::rd_kafka_event_error(event.0.as_ptr()) {
                sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(event),
                _ => Err(text(sys::rd_kafka_event_error_string(event.0.as_ptr()))),
            }
        }
    }
}

struct Queue(NonNull<sys::rd_kafka_queue_t>);

impl Queue {
    fn as_ptr(&self) -> *mut sys::rd_kafka_queue_t {
        self.0.as_ptr()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: owned, and not used after this.
        unsafe { sys::rd_kafka_queue_destroy(self.as_ptr()) }
    }
}

struct Event(NonNull<sys::rd_kafka_event_t>);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: owned, and nothing that it lent is kept.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

/// An ACL, or a pattern for some, as librdkafka writes it.
struct Binding(NonNull<sys::rd_kafka_AclBinding_t>);

impl Binding {
    fn of(acl: &Acl<'_>) -> Result<Self, String> {
        use sys::rd_kafka_AclOperation_t as Operation;
        use sys::rd_kafka_AclPermissionType_t as Permission;
        use sys::rd_kafka_ResourcePatternType_t as Pattern;
        use sys::rd_kafka_ResourceType_t as Kind;
        let (kind, name, pattern) = match acl.resource {
            Resource::Topic(name) => {
                (Kind::RD_KAFKA_RESOURCE_TOPIC, name, Pattern::RD_KAFKA_RESOURCE_PATTERN_LITERAL)
            }
            Resource::Group(id) => {
                (Kind::RD_KAFKA_RESOURCE_GROUP, id, Pattern::RD_KAFKA_RESOURCE_PATTERN_LITERAL)
            }
            Resource::GroupsThatBegin(prefix) => {
                (Kind::RD_KAFKA_RESOURCE_GROUP, prefix, Pattern::RD_KAFKA_RESOURCE_PATTERN_PREFIXED)
            }
        };
        let (allow, deny) =
            (Permission::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, Permission::RD_KAFKA_ACL_PERMISSION_TYPE_DENY);
        let (operation, permission) = match acl.verb {
            Verb::MayRead => (Operation::RD_KAFKA_ACL_OPERATION_READ, allow),
            Verb::MayNotRead => (Operation::RD_KAFKA_ACL_OPERATION_READ, deny),
            Verb::MayDoAll => (Operation::RD_KAFKA_ACL_OPERATION_ALL, allow),
        };
        let (name, principal) = (c_string(name)?, c_string(acl.principal)?);
        let mut reason = [0 as c_char; 256];
        // SAFETY: all texts are NUL-terminated and copied; the buffer has the length that is told.
        let raw = unsafe {
            sys::rd_kafka_AclBinding_new(
                kind,
                name.as_ptr(),
                pattern,
                principal.as_ptr(),
                c"*".as_ptr(),
                operation,
                permission,
                reason.as_mut_ptr(),
                reason.len(),
            )
        };
        // SAFETY: librdkafka wrote a NUL-terminated reason if it made none.
        NonNull::new(raw).map(Self).ok_or_else(|| unsafe { text(reason.as_ptr()) })
    }

    fn all_of(topic: &str) -> Result<Self, String> {
        let topic = c_string(topic)?;
        let mut reason = [0 as c_char; 256];
        // SAFETY: the name is NUL-terminated and copied, null stands for anybody and anywhere; the buffer
        // has the length that is told.
        let raw = unsafe {
            sys::rd_kafka_AclBindingFilter_new(
                sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC,
                topic.as_ptr(),
                sys::rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_LITERAL,
                ptr::null(),
                ptr::null(),
                sys::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_ANY,
                sys::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ANY,
                reason.as_mut_ptr(),
                reason.len(),
            )
        };
        // SAFETY: librdkafka wrote a NUL-terminated reason if it made none.
        NonNull::new(raw).map(Self).ok_or_else(|| unsafe { text(reason.as_ptr()) })
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        // SAFETY: owned, and not used after this.
        unsafe { sys::rd_kafka_AclBinding_destroy(self.0.as_ptr()) }
    }
}

fn c_string(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|error| error.to_string())
}

/// # Safety
/// Null, or an error that lives.
unsafe fn check(error: *const sys::rd_kafka_error_t) -> Result<(), String> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: promised by the caller; its text lives as long as it does.
    Err(unsafe { text(sys::rd_kafka_error_string(error)) })
}

/// # Safety
/// Null, or NUL-terminated.
unsafe fn text(raw: *const c_char) -> String {
    if raw.is_null() {
        return "no reason was given".to_owned();
    }
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(raw) }.to_string_lossy().into_owned()
}
