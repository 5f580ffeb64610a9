//! `fairpoll worker`: Fairpoll's own consumer as a worker process.
