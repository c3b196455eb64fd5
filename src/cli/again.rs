//! Command lines to copy: another command that has to reach the same lock as this one did.

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::text::quoted;
use crate::client::default_owner;

/// The options that another command needs as well: those that were given on this command line and say something
/// else than the environment or the default does.
#[derive(Debug, Clone, Default)]
pub(super) struct Again {
    /// Each with the text to put behind a command.
    options: Vec<(String, String)>,
    servers_were_typed: bool,
}

impl Again {
    /// Looks at the options that all commands share.
    pub(super) fn new(command: &Command, matches: &ArgMatches) -> Self {
        let mut options = Vec::new();
        for argument in command.get_arguments().filter(|argument| argument.get_action().takes_values()) {
            let id = argument.get_id().as_str();
            if matches.value_source(id) != Some(ValueSource::CommandLine) {
                continue;
            }
            let Some(values) = matches.get_raw(id) else { continue };
            let given: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
            let given = given.join(",");
            if given != without(argument) {
                let flag = argument.get_long().unwrap_or(id);
                options.push((id.to_owned(), format!("--{flag} {}", shown(id, &given))));
            }
        }
        let servers_were_typed = matches.value_source("nats") == Some(ValueSource::CommandLine);
        Self { options, servers_were_typed }
    }

    /// `natslock <words> <options>`; the words are quoted where a shell needs it.
    pub(super) fn command(&self, words: &[&str]) -> String {
        self.with(words, |_| true)
    }

    /// As [`Again::command`], without what only says in whose name.
    pub(super) fn command_of_anybody(&self, words: &[&str]) -> String {
        self.with(words, |id| id != "owner")
    }

    /// As [`Again::command`], for the servers that are known anyway.
    pub(super) fn command_here(&self, words: &[&str]) -> String {
        self.with(words, |id| id == "namespace" || id == "owner")
    }

    /// True where a command names the servers.
    pub(super) fn names_servers(&self) -> bool {
        self.options.iter().any(|(id, _)| id == "nats")
    }

    /// True where the servers stand on the command line, whatever they are.
    pub(super) const fn servers_were_typed(&self) -> bool {
        self.servers_were_typed
    }

    fn with(&self, words: &[&str], wanted: impl Fn(&str) -> bool) -> String {
        // A name that begins with a dash has to come last, behind the sign that no options follow.
        let dashed = |word: &&&str| word.starts_with('-') && !word.starts_with("--");
        let last: Vec<String> = words.iter().filter(dashed).map(|word| quoted(word)).collect();
        let mut line = vec!["natslock".to_owned()];
        line.extend(words.iter().filter(|word| !dashed(word)).map(|word| quoted(word)));
        line.extend(self.options.iter().filter(|(id, _)| wanted(id)).map(|(_, option)| option.clone()));
        if !last.is_empty() {
            line.push("--".into());
            line.extend(last);
        }
        line.join(" ")
    }
}

/// What holds where the option is not given.
fn without(argument: &clap::Arg) -> String {
    let from_environment = argument.get_env().and_then(std::env::var_os);
    if let Some(value) = from_environment {
        return value.to_string_lossy().into_owned();
    }
    if argument.get_id() == "owner" {
        return default_owner().to_string();
    }
    let defaults: Vec<_> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    defaults.join(",")
}

/// Secrets are not repeated: the environment is the place for them.
fn shown(id: &str, given: &str) -> String {
    match id {
        "password" => "\"$NATSLOCK_PASSWORD\"".into(),
        "nkey" if super::session::is_seed(given) => "\"$NATSLOCK_NKEY\"".into(),
        "nats" if given.contains('@') => "\"$NATS_URL\"".into(),
        _ => quoted(given),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::args::CommandLine;

    fn again(line: &[&str]) -> Again {
        let command = CommandLine::command();
        let matches = command.clone().try_get_matches_from(line).unwrap();
        Again::new(&command, &matches)
    }

    #[test]
    fn only_what_was_given_and_differs_is_repeated() {
        let plain = again(&["natslock", "acquire", "x", "--namespace", "default", "--ttl", "5s"]);
        assert_eq!(plain.command(&["release", "x"]), "natslock release x");
        let other = again(&["natslock", "--owner", "a b", "acquire", "x", "--namespace=prod"]);
        assert_eq!(
            other.command(&["release", "订单 1"]),
            "natslock release '订单 1' --namespace prod --owner 'a b'"
        );
        assert_eq!(other.command_of_anybody(&["list"]), "natslock list --namespace prod");
    }

    #[test]
    fn secrets_are_not_repeated() {
        let secret = ["natslock", "info", "--user", "ada", "--password", "pw", "--nats", "nats://u:pw@h"];
        assert_eq!(
            again(&secret).command(&["info"]),
            r#"natslock info --nats "$NATS_URL" --user ada --password "$NATSLOCK_PASSWORD""#
        );
    }

    #[test]
    fn a_name_may_begin_with_a_dash() {
        let line = again(&["natslock", "acquire", "--namespace", "n", "--", "-x"]);
        assert_eq!(
            line.command(&["release", "-x", "--id", "7"]),
            "natslock release --id 7 --namespace n -- -x"
        );
    }
}
