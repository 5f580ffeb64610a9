//! Why a broker's certificate is refused. librdkafka says that it is and not why.

use std::ffi::{c_char, c_int, c_void};
use std::sync::{Mutex, PoisonError};

use rdkafka::config::ClientConfig;
use rdkafka_sys as sys;

use super::client::notes;

/// OpenSSL's number of no error.
const X509_V_OK: c_int = 0;

/// What was found wrong last.
#[derive(Debug, Default)]
pub(super) struct Objection(Mutex<Option<&'static str>>);

impl Objection {
    fn raise(&self, words: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
    }

    /// An error's message, with the objection that it lacks.
    pub(super) fn completes(&self, message: String) -> String {
        let raised = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match raised {
            Some(words) if message.contains("certificate verify failed") => format!("{message}: {words}"),
            _ => message,
        }
    }
}

/// Listens to what OpenSSL finds, where anything is verified at all. A librdkafka without TLS refuses,
/// and verifies nothing either.
///
/// # Safety
/// `conf` must be valid, and its opaque the handle's notes, which outlive the handle.
pub(super) unsafe fn listen(conf: *mut sys::rd_kafka_conf_t, config: &ClientConfig) {
    if config.get("enable.ssl.certificate.verification") != Some("false") {
        // SAFETY: promised by the caller.
        unsafe { sys::rd_kafka_conf_set_ssl_cert_verify_cb(conf, Some(on_certificate)) };
    }
}

/// Runs on librdkafka's threads, for every certificate of a broker's chain. Agrees with OpenSSL.
unsafe extern "C" fn on_certificate(
    _: *mut sys::rd_kafka_t,
    _broker: *const c_char,
    _broker_id: i32,
    error: *mut c_int,
    _depth: c_int,
    _certificate: *const c_char,
    _size: usize,
    _reason: *mut c_char,
    _reason_size: usize,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: librdkafka lends a valid place for the length of the call.
    let error = unsafe { *error };
    if error == X509_V_OK {
        return 1;
    }
    // SAFETY: see `notes`.
    unsafe { notes(opaque) }.objection.raise(words(error));
    0
}

/// OpenSSL's words for its numbers (`x509_vfy.h`), as far as they befall a broker's certificate.
fn words(error: c_int) -> &'static str {
    match error {
        9 => "certificate is not yet valid",
        10 => "certificate has expired",
        18 => "self-signed certificate",
        19 => "self-signed certificate in certificate chain",
        20 => "unable to get local issuer certificate",
        21 => "unable to verify the first certificate",
        23 => "certificate revoked",
        62 => "hostname mismatch",
        64 => "IP address mismatch",
        _ => "no further reason is known",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objection_completes_the_error_that_it_belongs_to_and_no_other() {
        let objection = Objection::default();
        let failed = || "SSL handshake failed: certificate verify failed".to_owned();
        assert_eq!(objection.completes(failed()), failed());
        objection.raise(words(10));
        assert_eq!(objection.completes(failed()), format!("{}: certificate has expired", failed()));
        assert_eq!(objection.completes("tlsv1 alert".to_owned()), "tlsv1 alert");
    }
}
