//! Which image runs.

use super::super::BrokerError;
use super::docker::{Docker, LocalImage};

/// What is pulled where nothing is there: the project's own image.
pub(super) const PUBLIC: &str = "apache/kafka:4.1.0";
/// What `containers/kafka/build-image` makes.
pub(super) const BUILT: &str = "fairpoll/kafka:4.1.0";

/// The image that was asked for; else the public one, else the built one, whichever is on this
/// machine. What is not there is pulled.
pub(super) fn resolve(docker: &Docker, asked: Option<&str>) -> Result<LocalImage, BrokerError> {
    let candidates: &[&str] = match &asked {
        Some(image) => &[image],
        None => &[PUBLIC, BUILT],
    };
    for candidate in candidates {
        if let Some(image) = docker.find_image(candidate)? {
            return Ok(image);
        }
    }
    docker.pull_image(candidates[0])
}

/// An image's name as testcontainers wants it: what stands before and after the last `:`.
pub(super) fn split(image: &str) -> (&str, &str) {
    match image.rsplit_once(':') {
        // `host:5000/kafka`: the colon belongs to the registry.
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_apart_at_its_tag_and_not_at_its_port() {
        assert_eq!(split("apache/kafka:4.1.0"), ("apache/kafka", "4.1.0"));
        assert_eq!(split("apache/kafka"), ("apache/kafka", "latest"));
        assert_eq!(split("example.org:5000/kafka"), ("example.org:5000/kafka", "latest"));
        assert_eq!(split("kafka@sha256:abc"), ("kafka@sha256", "abc"), "put together again it is the same");
    }
}
