//! What the commands print, word for word: each file in `cmd/` is run as a person would.

#[test]
fn commands_print_what_their_cases_say() {
    trycmd::TestCases::new().case("tests/cmd/*.trycmd");
}
