//! RESP and HTTP in front of an Antiphon node: the only crate that knows RESP, HTTP and JSON.

pub mod resp;
