//! `antiphon config`: an annotated file to start from, a check, and what is in force and why.

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, Subcommand};
use serde::Serialize;

use crate::args::Cli;
use crate::config::{
    Layers, NodeConfig, Refused, Scope, Sources, annotated, check, sections, with_origins,
};
use crate::errors::{Code, Coded, Problem};
use crate::exit::Exit;
use crate::output::Screen;

/// Name and version of the document.
const SCHEMA: &str = "antiphon.config/1";
/// Where a file is looked for below the user's and the system's directories.
const FILE: &str = "antiphon/node.toml";

/// The actions of `config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Write an annotated configuration file to stdout
    #[command(after_help = "Examples:
  antiphon config init > node.toml
  antiphon config init | grep -v '^#' > node.toml
  antiphon config init | less")]
    Init,
    /// Read the configuration and hold it against itself and this machine
    #[command(after_help = "Examples:
  antiphon config check --config node.toml
  antiphon config check --config node.toml --text-only
  antiphon config check --config node.toml --set resp.listen=127.0.0.1:7102")]
    Check(CheckArgs),
    /// Show the configuration in force
    #[command(after_help = "Examples:
  antiphon config show --config node.toml --origins
  antiphon config show --config node.toml -o json
  ANTIPHON_RESP_LISTEN=127.0.0.1:7102 antiphon config show --origins")]
    Show(ShowArgs),
}

/// Where a configuration comes from; the same for every command that reads one.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file [default: the user's or the system's antiphon/node.toml, if there is one]
    #[arg(long, env = "ANTIPHON_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key over file and environment, as often as needed [default: none]
    #[arg(long, value_name = "SECTION.KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

/// Flags of `config check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    from: ConfigArgs,
    /// Leave files, directories and ports of this machine alone
    #[arg(long)]
    text_only: bool,
}

/// Flags of `config show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    from: ConfigArgs,
    /// Say where each value came from
    #[arg(long)]
    origins: bool,
}

/// Runs an action of `config`.
///
/// # Errors
/// When the configuration cannot be read or is refused.
pub(crate) fn run(command: &ConfigCommand, screen: &mut Screen) -> anyhow::Result<Exit> {
    match command {
        ConfigCommand::Init => {
            screen.answer(&annotated())?;
            Ok(Exit::Done)
        }
        ConfigCommand::Check(args) => run_check(args, screen),
        ConfigCommand::Show(args) => run_show(args, screen),
    }
}

fn run_check(args: &CheckArgs, screen: &mut Screen) -> anyhow::Result<Exit> {
    let layers = args.from.layers(screen)?;
    let config = NodeConfig::read(&layers).map_err(|error| refused(&error))?;
    let scope = if args.text_only { Scope::Text } else { Scope::Machine };
    check(&config, scope).map_err(|error| refused(&error))?;
    let (id, cluster) = (config.node.id, &config.cluster.name);
    screen.answer(&format!("good: node {id} of cluster {cluster}\n"))?;
    Ok(Exit::Done)
}

fn run_show(args: &ShowArgs, screen: &mut Screen) -> anyhow::Result<Exit> {
    let layers = args.from.layers(screen)?;
    if screen.format().is_json() {
        screen.answer_json(&Shown::of(&layers))?;
    } else {
        screen.answer(&with_origins(&layers, args.origins))?;
    }
    Ok(Exit::Done)
}

impl ConfigArgs {
    /// The merged layers; says on stderr which file was read.
    ///
    /// # Errors
    /// When the file cannot be read or a key is unknown.
    pub(crate) fn layers(&self, screen: &mut Screen) -> anyhow::Result<Layers> {
        let file = match &self.config {
            Some(path) => Some((path.clone(), read(path)?)),
            None => usual_places()
                .into_iter()
                .find(|path| path.is_file())
                .map(|path| {
                    let text = read(&path)?;
                    screen.note(&format!("configuration: {}", path.display()));
                    anyhow::Ok((path, text))
                })
                .transpose()?,
        };
        let sources = Sources { file, environment: environment(), flags: self.set.clone() };
        Layers::merge(&sources).map_err(|error| refused(&error))
    }
}

/// The layers with this file and nothing else.
///
/// # Errors
/// When the file cannot be read or a key is unknown.
pub(crate) fn layers_of(path: &Path) -> anyhow::Result<Layers> {
    let file = Some((path.to_path_buf(), read(path)?));
    Layers::merge(&Sources { file, environment: Vec::new(), flags: Vec::new() })
        .map_err(|error| refused(&error))
}

fn read(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path);
    Ok(text.coded(Code::ReadFile, || format!("cannot read {}", path.display()))?)
}

fn usual_places() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    let user = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or(home);
    user.into_iter().chain([PathBuf::from("/etc")]).map(|place| place.join(FILE)).collect()
}

/// Variables that may set keys: all of ours but those that set flags of commands.
fn environment() -> Vec<(String, String)> {
    let mut flags = Vec::new();
    names_of_flags(&crate::args::with_environment(Cli::command(), "ANTIPHON"), &mut flags);
    let text = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    text.filter(|(name, _)| name.starts_with("ANTIPHON_") && !flags.contains(name)).collect()
}

fn names_of_flags(command: &clap::Command, names: &mut Vec<String>) {
    let own = command.get_arguments().filter_map(|arg| Some(arg.get_env()?.to_str()?.to_owned()));
    names.extend(own);
    for sub in command.get_subcommands() {
        names_of_flags(sub, names);
    }
}

pub(crate) fn refused(refused: &Refused) -> anyhow::Error {
    Problem::new(Code::Config, refused.to_string()).into()
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write SECTION.KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The configuration in force, for programs.
#[derive(Debug, Serialize)]
struct Shown {
    schema: &'static str,
    config: toml::Table,
    origins: std::collections::BTreeMap<String, String>,
}

impl Shown {
    fn of(layers: &Layers) -> Self {
        let paths =
            sections().iter().flat_map(|section| section.keys.iter().map(|key| section.path(key)));
        let origins = paths.filter_map(|path| {
            let origin = layers.get(&path)?.1.to_string();
            Some((path, origin))
        });
        Self { schema: SCHEMA, config: layers.to_table(), origins: origins.collect() }
    }
}
