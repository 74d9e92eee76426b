//! Asks one node for its status page.

use std::time::Duration;

use anyhow::{Context, bail};

use crate::commands::status::page::{Page, SCHEMA};
use crate::http::{Ask, get};

/// Longest answer that is read: thousands of replicas.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// The status page of the node at `address`.
///
/// # Errors
/// When the node is not there, does not answer within `patience`, or with something else.
pub(crate) fn status(address: &str, patience: Duration) -> anyhow::Result<Page> {
    let bytes_max = ANSWER_BYTES_MAX;
    let answer = get(Ask { address, path: "/status", password: None, patience, bytes_max })?;
    // A node that is not ready says so with 503 and the page all the same.
    if !matches!(answer.code, 200 | 503) {
        bail!("it answers with HTTP {}", answer.code);
    }
    let page: Page =
        serde_json::from_str(&answer.body).context("it answers without a status page")?;
    if !page.schema.starts_with(SCHEMA) {
        bail!("it answers with a page of schema {:?}", page.schema);
    }
    Ok(page)
}
