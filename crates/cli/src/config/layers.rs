//! Merges defaults, file, environment and flags, and remembers where each value came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::Value;
use toml::de::DeTable;

use crate::config::{Key, Kind, Presence, Section, Setting, key_at, nearest, sections};

/// Longest file that is read. Any real one is far smaller.
const FILE_BYTES_MAX: usize = 1 << 20;

/// What there is to merge. Later fields win.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Name and text of the file, if there is one.
    pub file: Option<(PathBuf, String)>,
    /// Names and values of environment variables; those that begin with `ANTIPHON_` and the name
    /// of a section are looked at.
    pub environment: Vec<(String, String)>,
    /// Keys such as `resp.listen`, and what flags set them to.
    pub flags: Vec<(String, String)>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A file.
    File {
        /// Its name.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// What.
    pub what: String,
    /// Where, if it is about one place.
    pub origin: Option<Origin>,
}

impl Complaint {
    /// Something about the configuration as a whole.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), origin: None }
    }

    fn at(origin: Origin, what: impl Into<String>) -> Self {
        Self { what: what.into(), origin: Some(origin) }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{origin}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// All that is wrong with a configuration, never nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Refused(pub Vec<Complaint>);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, complaint) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str("\n  ")?;
            }
            complaint.fmt(f)?;
        }
        Ok(())
    }
}

/// The merged values by path.
#[derive(Debug, Clone)]
pub struct Layers {
    values: BTreeMap<String, (Value, Origin)>,
}

impl Layers {
    /// Merges `sources` over the defaults.
    ///
    /// # Errors
    /// A file that is no TOML, and every unknown key.
    pub fn merge(sources: &Sources) -> Result<Self, Refused> {
        let mut layers = Self { values: defaults() };
        let mut complaints = Vec::new();
        if let Some((path, text)) = &sources.file {
            layers.add_file(path, text, &mut complaints);
        }
        for (name, text) in &sources.environment {
            layers.add_variable(name, text, &mut complaints);
        }
        for (path, text) in &sources.flags {
            match key_at(path) {
                Some((_, key)) => layers.set(path, from_text(key.kind, text), Origin::Flag),
                None => complaints.push(Complaint::at(Origin::Flag, unknown(path))),
            }
        }
        if complaints.is_empty() { Ok(layers) } else { Err(Refused(complaints)) }
    }

    /// The value at `path` and where it came from; nothing if nobody set it.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<(&Value, &Origin)> {
        self.values.get(path).map(|(value, origin)| (value, origin))
    }

    /// All values that are set, section by section.
    #[must_use]
    pub fn to_table(&self) -> toml::Table {
        let mut all = toml::Table::new();
        for (path, (value, _)) in &self.values {
            let Some((section, key)) = path.split_once('.') else { continue };
            let section = all.entry(section).or_insert_with(|| Value::Table(toml::Table::new()));
            if let Some(section) = section.as_table_mut() {
                section.insert(key.to_owned(), value.clone());
            }
        }
        all
    }

    /// Reads the value at `path`; says in `complaints` why there is none.
    pub(crate) fn read<T: Setting>(
        &self,
        path: &str,
        complaints: &mut Vec<Complaint>,
    ) -> Option<T> {
        let Some((value, origin)) = self.get(path) else {
            let absent = T::absent();
            if absent.is_none() {
                complaints.push(Complaint::new(format!("`{path}` is required and not set")));
            }
            return absent;
        };
        match T::from_value(value) {
            Ok(value) => Some(value),
            Err(error) => {
                complaints.push(Complaint::at(origin.clone(), format!("`{path}`: {error}")));
                None
            }
        }
    }

    fn set(&mut self, path: &str, value: Value, origin: Origin) {
        self.values.insert(path.to_owned(), (value, origin));
    }

    fn add_file(&mut self, path: &Path, text: &str, complaints: &mut Vec<Complaint>) {
        let at = |line| Origin::File { path: path.to_path_buf(), line };
        if text.len() > FILE_BYTES_MAX {
            let what = format!("{} bytes are more than any configuration needs", text.len());
            complaints.push(Complaint::at(at(1), what));
            return;
        }
        let parsed = DeTable::parse(text).and_then(|places| Ok((places, toml::from_str(text)?)));
        let (places, values): (_, toml::Table) = match parsed {
            Ok(both) => both,
            Err(error) => {
                let line = error.span().map_or(1, |span| line_of(text, span.start));
                complaints.push(Complaint::at(at(line), error.message()));
                return;
            }
        };
        let mut unknown_keys = Vec::new();
        for (section_key, section) in places.get_ref() {
            let section_name = section_key.get_ref().as_ref();
            let line = line_of(text, section_key.span().start);
            let known = sections().iter().any(|known| known.name == section_name);
            let Some(inner) = section.get_ref().as_table().filter(|_| known) else {
                unknown_keys.push((line, unknown_section(section_name, known)));
                continue;
            };
            for key in inner.keys() {
                let line = line_of(text, key.span().start);
                let path = format!("{section_name}.{}", key.get_ref());
                let section = values.get(section_name).and_then(Value::as_table);
                let value = section.and_then(|section| section.get(key.get_ref().as_ref()));
                match (key_at(&path), value) {
                    (Some(_), Some(value)) => self.set(&path, value.clone(), at(line)),
                    _ => unknown_keys.push((line, unknown(&path))),
                }
            }
        }
        unknown_keys.sort();
        complaints
            .extend(unknown_keys.into_iter().map(|(line, what)| Complaint::at(at(line), what)));
    }

    fn add_variable(&mut self, name: &str, text: &str, complaints: &mut Vec<Complaint>) {
        let all = || {
            sections().iter().flat_map(|section| section.keys.iter().map(move |key| (section, key)))
        };
        let meant = |(section, key): &(&Section, &Key)| section.environment(key) == name;
        if let Some((section, key)) = all().find(meant) {
            let origin = Origin::Environment(name.to_owned());
            self.set(&section.path(key), from_text(key.kind, text), origin);
            return;
        }
        let of_a_section = sections().iter().any(|section| {
            name.strip_prefix("ANTIPHON_")
                .and_then(|rest| rest.strip_prefix(&section.name.to_uppercase()))
                .is_some_and(|rest| rest.starts_with('_'))
        });
        if of_a_section {
            let known: Vec<String> = all().map(|(section, key)| section.environment(key)).collect();
            let hint = nearest(name, known.iter().map(String::as_str));
            let hint = hint.map(|hint| format!("; did you mean {hint}?")).unwrap_or_default();
            let origin = Origin::Environment(name.to_owned());
            complaints.push(Complaint::at(origin, format!("no key has this name{hint}")));
        }
    }
}

fn defaults() -> BTreeMap<String, (Value, Origin)> {
    let mut values = BTreeMap::new();
    for section in sections() {
        for key in section.keys {
            if let Presence::Default(text) = key.presence {
                let value = literal(text).expect("the defaults are checked by a test");
                values.insert(section.path(key), (value, Origin::Default));
            }
        }
    }
    values
}

/// A value written as in a file.
fn literal(text: &str) -> Option<Value> {
    let mut table: toml::Table = toml::from_str(&format!("value = {text}")).ok()?;
    table.remove("value").filter(|_| table.is_empty())
}

/// A value written outside a file. What does not fit its kind stays a text, and is refused as such
/// with the place where it stands.
fn from_text(kind: Kind, text: &str) -> Value {
    let special = match kind {
        Kind::Text => None,
        Kind::Whole => text.parse().ok().map(Value::Integer),
        Kind::Switch => text.parse().ok().map(Value::Boolean),
        Kind::List => literal(text),
    };
    special.unwrap_or_else(|| Value::String(text.to_owned()))
}

fn unknown(path: &str) -> String {
    let known: Vec<String> = sections()
        .iter()
        .flat_map(|section| section.keys.iter().map(|key| section.path(key)))
        .collect();
    let name = path.rsplit_once('.').map_or(path, |(_, name)| name);
    // The right name in the wrong section is the likelier slip, so it comes first.
    let moved =
        known.iter().find(|known| known.rsplit_once('.').is_some_and(|(_, key)| key == name));
    let near = nearest(path, known.iter().map(String::as_str));
    match near.or_else(|| moved.map(String::as_str)) {
        Some(near) => format!("unknown key `{path}`; did you mean `{near}`?"),
        None => format!("unknown key `{path}`; `antiphon config init` lists all"),
    }
}

fn unknown_section(name: &str, known: bool) -> String {
    if known {
        return format!("`{name}` is a section: write [{name}] above its keys");
    }
    let names: Vec<&str> = sections().iter().map(|section| section.name).collect();
    match nearest(name, names.iter().copied()) {
        Some(near) => format!("unknown section `{name}`; did you mean `{near}`?"),
        None => format!("unknown section `{name}`; there are {}", names.join(", ")),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}
