//! The deciding half of Fairpoll.
