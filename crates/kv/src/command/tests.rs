//! The table is sorted, found in any case, and consistent.

use super::*;

#[test]
fn the_table_is_sorted_and_every_command_is_found() {
    assert!(Command::all().is_sorted_by(|one, other| one.name < other.name));
    for command in Command::all() {
        assert_eq!(Command::find(command.name.as_bytes()), Some(command));
        assert_eq!(Command::find(command.name.to_uppercase().as_bytes()), Some(command));
        assert!(command.name.len() <= NAME_BYTES_MAX);
    }
}

#[test]
fn a_name_that_is_none_is_not_found() {
    for name in ["", "ge", "gett", "a name far too long to be the name of a command", "\u{e9}"] {
        assert_eq!(Command::find(name.as_bytes()), None, "{name}");
    }
}

#[track_caller]
fn check_keys(words: &str, want: &[usize]) {
    let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    let command = Command::find(args[0]).unwrap();
    assert_eq!(command.key_positions(&args).collect::<Vec<_>>(), want, "{words}");
}

#[test]
fn keys_stand_where_the_table_says() {
    check_keys("GET a", &[1]);
    check_keys("DEL a b c", &[1, 2, 3]);
    check_keys("MSET a 1 b 2", &[1, 3]);
    check_keys("RENAME a b", &[1, 2]);
    check_keys("OBJECT ENCODING a", &[2]);
    check_keys("MEMORY USAGE a", &[2]);
    check_keys("PING", &[]);
    check_keys("SCAN 0", &[]);
    check_keys("OBJECT HELP", &[]);
}

#[test]
fn arity_is_exact_or_at_least() {
    let get = Command::find(b"get").unwrap();
    let set = Command::find(b"set").unwrap();
    assert!(get.check_arity(2).is_ok() && set.check_arity(3).is_ok() && set.check_arity(9).is_ok());
    let text = |fault: Result<(), Fault>| fault.unwrap_err().text().to_owned();
    assert_eq!(text(get.check_arity(3)), "ERR wrong number of arguments for 'get' command");
    assert_eq!(text(set.check_arity(2)), "ERR wrong number of arguments for 'set' command");
}

#[test]
fn a_command_reads_or_writes() {
    for command in Command::all() {
        let both = command.flags.has(Flags::READONLY.with(Flags::WRITE));
        assert!(!both, "{}", command.name);
        if command.keys.first > 0 && matches!(command.runs, Runs::Keys(_)) {
            let one = command.is_write() || command.flags.has(Flags::READONLY);
            assert!(one, "{}", command.name);
        }
    }
}
