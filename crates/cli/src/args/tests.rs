//! The tree is sound, and no flag is without help, environment name or examples.

use super::*;

fn every_command(command: &clap::Command, visit: &mut impl FnMut(&clap::Command)) {
    visit(command);
    for sub in command.get_subcommands() {
        every_command(sub, visit);
    }
}

#[test]
fn the_tree_is_sound() {
    command().debug_assert();
}

#[test]
fn every_flag_has_help_and_an_environment_name() {
    every_command(&command(), &mut |command| {
        for arg in command.get_arguments() {
            assert!(arg.get_help().is_some(), "{} {}", command.get_name(), arg.get_id());
            let named = arg.get_env().is_some() || arg.get_long().is_none();
            let own = matches!(arg.get_id().as_str(), "help" | "version");
            assert!(named || own, "{} {} has no env", command.get_name(), arg.get_id());
        }
    });
}

#[test]
fn every_command_that_runs_shows_three_examples() {
    every_command(&command(), &mut |command| {
        if command.has_subcommands() || matches!(command.get_name(), "version" | "help") {
            return;
        }
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = text.lines().filter(|line| line.contains("antiphon ")).count();
        assert_eq!(examples, 3, "{}: {text}", command.get_name());
    });
}

#[test]
fn environment_names_follow_the_flag() {
    assert_eq!(environment_name("ANTIPHON_BENCH", "read-share"), "ANTIPHON_BENCH_READ_SHARE");
}
