//! What to do about an error of security: the broker's words name no principal, no ACL and no property.

use crate::config::Config;

/// Says who this consumer is to the broker and what would let it in.
#[derive(Debug, Clone)]
pub(crate) struct Remedies {
    /// As an ACL names it, or words where only the broker knows.
    principal: String,
}

/// What OpenSSL and librdkafka say of a failed handshake, and what follows from it. The first that fits.
///
/// `alert` is the broker's word about this consumer; without it, it is this side that objects.
const HANDSHAKE: [(&str, &str); 12] = [
    (
        "alert certificate expired",
        "the broker finds this consumer's certificate expired: renew the one in ssl.certificate.location",
    ),
    (
        "alert unknown ca",
        "the broker does not know who signed this consumer's certificate: add that CA to the broker's \
         truststore, or use a certificate that it knows (ssl.certificate.location)",
    ),
    (
        "alert",
        "the broker refuses this consumer's side of the handshake: set ssl.certificate.location and \
         ssl.key.location if it asks for a certificate, and compare ssl.* with its listener",
    ),
    ("has expired", "the broker's certificate must be renewed; compare this machine's clock too"),
    ("not yet valid", "compare the clocks of this machine and of the one that made the broker's certificate"),
    (
        "hostname mismatch",
        "the broker's certificate must name the host that bootstrap.servers and advertised.listeners name",
    ),
    (
        "IP address mismatch",
        "the broker's certificate must name the address that bootstrap.servers and advertised.listeners name",
    ),
    ("self-signed certificate", UNKNOWN_CA),
    ("self signed certificate", UNKNOWN_CA),
    ("issuer certificate", UNKNOWN_CA),
    (
        "certificate verify failed",
        "look whether the broker's certificate is expired, names another host, or was signed by a CA that is \
         not in ssl.ca.location (openssl s_client -connect HOST:PORT shows it)",
    ),
    ("wrong version number", "the broker's listener speaks no TLS: compare security.protocol with it"),
];

const UNKNOWN_CA: &str = "put the certificate of the CA that signed the broker's into ssl.ca.location";

impl Remedies {
    pub(crate) fn new(config: &Config) -> Self {
        let properties = config.client_properties();
        let get = |name| properties.get(name).map(str::to_ascii_uppercase);
        let protocol = get("security.protocol").unwrap_or_default();
        let by_name = get("sasl.mechanism").or_else(|| get("sasl.mechanisms")).unwrap_or_default();
        let by_name = by_name == "PLAIN" || by_name.starts_with("SCRAM-");
        let principal = match properties.get("sasl.username") {
            Some(user) if protocol.starts_with("SASL") && by_name => format!("User:{user}"),
            _ if protocol.starts_with("SASL") => "this consumer's principal".to_owned(),
            _ if protocol == "SSL" => "the principal of this consumer's certificate".to_owned(),
            _ => "User:ANONYMOUS".to_owned(),
        };
        Self { principal }
    }

    /// What would help against an error, by its symbolic name and librdkafka's words; `None`: nothing that
    /// is known here. `group` is the group of the handle that it came from.
    pub(crate) fn of(&self, code: &str, message: &str, topic: Option<&str>, group: &str) -> Option<String> {
        let Self { principal } = self;
        match code {
            "TOPIC_AUTHORIZATION_FAILED" => Some(match topic {
                Some(topic) => format!("grant {principal} READ on the topic {topic}"),
                None => format!("grant {principal} READ on every topic that is configured"),
            }),
            "GROUP_AUTHORIZATION_FAILED" => Some(format!("grant {principal} READ on the group {group}")),
            "_AUTHENTICATION" | "SASL_AUTHENTICATION_FAILED" => Some(format!(
                "the broker does not take {principal} for whom it says it is: check sasl.mechanism, sasl.username \
                 and sasl.password against what the broker knows"
            )),
            "_SSL" => {
                let fits = |(words, _): &&(&str, &str)| message.contains(words);
                let known = HANDSHAKE.iter().find(fits).map(|(_, remedy)| *remedy);
                Some(
                    known
                        .unwrap_or("compare security.protocol and ssl.* with the broker's listener")
                        .to_owned(),
                )
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remedies(properties: &[(&str, &str)]) -> Remedies {
        let config = Config::new("b:1", "g", ["a"]);
        Remedies::new(&properties.iter().fold(config, |config, (name, value)| config.property(*name, *value)))
    }

    fn alice() -> Remedies {
        remedies(&[
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanism", "SCRAM-SHA-256"),
            ("sasl.username", "alice"),
            ("sasl.password", "hunter2"),
        ])
    }

    fn of(remedies: &Remedies, code: &str, message: &str) -> String {
        remedies.of(code, message, Some("orders"), "billing").expect("a remedy")
    }

    #[test]
    fn a_missing_acl_is_named_with_principal_operation_and_resource() {
        let topic = of(&alice(), "TOPIC_AUTHORIZATION_FAILED", "");
        assert_eq!(topic, "grant User:alice READ on the topic orders");
        let group = of(&alice(), "GROUP_AUTHORIZATION_FAILED", "");
        assert_eq!(group, "grant User:alice READ on the group billing");
    }

    #[test]
    fn the_principal_is_named_where_the_configuration_tells_it() {
        let who = |properties: &[(&str, &str)]| remedies(properties).principal;
        assert_eq!(who(&[]), "User:ANONYMOUS");
        assert_eq!(who(&[("security.protocol", "ssl")]), "the principal of this consumer's certificate");
        let token = [("security.protocol", "SASL_SSL"), ("sasl.mechanism", "OAUTHBEARER")];
        assert_eq!(who(&token), "this consumer's principal");
        let plain =
            [("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanisms", "PLAIN"), ("sasl.username", "bob")];
        assert_eq!(who(&plain), "User:bob");
        // Without SASL a user's name means nothing.
        assert_eq!(who(&[("sasl.username", "bob")]), "User:ANONYMOUS");
    }

    #[test]
    fn a_failed_login_names_its_properties_and_no_password() {
        let remedy = of(&alice(), "_AUTHENTICATION", "SASL authentication error: invalid credentials");
        assert!(remedy.contains("User:alice") && remedy.contains("sasl.password"), "{remedy}");
        assert!(!remedy.contains("hunter2"), "{remedy}");
    }

    #[test]
    fn a_failed_handshake_is_told_by_whose_certificate_it_is_and_what_is_wrong_with_it() {
        let verify = "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: ";
        for (message, words) in [
            (format!("{verify}certificate has expired"), "broker's certificate must be renewed"),
            (format!("{verify}hostname mismatch"), "must name the host"),
            (format!("{verify}IP address mismatch"), "must name the address"),
            (format!("{verify}self-signed certificate in certificate chain"), "ssl.ca.location"),
            (format!("{verify}unable to get local issuer certificate"), "ssl.ca.location"),
            (verify.to_owned(), "openssl s_client"),
            ("SSL routines::sslv3 alert certificate expired".to_owned(), "ssl.certificate.location"),
            ("SSL routines::tlsv1 alert unknown ca".to_owned(), "truststore"),
            ("SSL routines::wrong version number".to_owned(), "security.protocol"),
            ("SSL routines::something new".to_owned(), "security.protocol"),
        ] {
            let remedy = of(&alice(), "_SSL", &message);
            assert!(remedy.contains(words), "{message}: {remedy}");
        }
    }

    #[test]
    fn where_nothing_is_known_nothing_is_said() {
        assert_eq!(alice().of("UNKNOWN", "", Some("orders"), "billing"), None);
        assert_eq!(alice().of("_TRANSPORT", "", None, "billing"), None);
    }
}
