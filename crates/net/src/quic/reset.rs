//! A node that lost its links' state says so: packets for a link of an earlier run are answered
//! by a token that only this node could have named, and the caller begins anew at once instead
//! of waiting until it has heard nothing for long enough.

use std::convert::Infallible;

use aws_lc_rs::{digest, hmac};
use s2n_quic::provider::stateless_reset_token::{Generator, Provider};
use s2n_quic_core::stateless_reset::Token;

use crate::certs::Credentials;

/// Names tokens by a key that all runs of a node share and nobody else has.
pub(super) struct ResetTokens(hmac::Key);

impl ResetTokens {
    /// The tokens of the node with this private key.
    pub(super) fn of(credentials: &Credentials) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"antiphon reset tokens");
        context.update(credentials.key_pem.as_bytes());
        Self(hmac::Key::new(hmac::HMAC_SHA256, context.finish().as_ref()))
    }
}

impl Provider for ResetTokens {
    type Generator = Self;
    type Error = Infallible;

    fn start(self) -> Result<Self, Infallible> {
        Ok(self)
    }
}

impl Generator for ResetTokens {
    fn generate(&mut self, local_connection_id: &[u8]) -> Token {
        let tag = hmac::sign(&self.0, local_connection_id);
        let mut token = [0; 16];
        for (to, from) in token.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        token.into()
    }
}
