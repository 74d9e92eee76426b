//! Configuration files: read or refused with a complaint, and the effective configuration, when it
//! is written out, reads as the same one.
#![no_main]

use std::path::PathBuf;

use antiphon_cli::config::{Layers, NodeConfig, Scope, Sources, check};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Some((layers, config)) = read(text) else { return };
    let written = layers.to_table().to_string();
    let (_, again) = read(&written).expect("what we write is a configuration");
    assert_eq!(again, config);
    if let Err(refused) = check(&config, Scope::Text) {
        assert!(!refused.0.is_empty(), "a refusal says why");
    }
});

fn read(text: &str) -> Option<(Layers, NodeConfig)> {
    let file = Some((PathBuf::from("node.toml"), text.to_owned()));
    let sources = Sources { file, ..Sources::default() };
    let layers = Layers::merge(&sources);
    match layers.and_then(|layers| NodeConfig::read(&layers).map(|config| (layers, config))) {
        Ok(read) => Some(read),
        Err(refused) => {
            assert!(!refused.to_string().is_empty(), "a refusal says why");
            None
        }
    }
}
