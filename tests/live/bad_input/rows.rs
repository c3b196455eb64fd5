//! The bad inputs that a coordinator has to withstand, one row each, and what shows that it does: the cases of
//! [`super::cases`] with the row's number, the tests that are named here, or why nobody can send such a thing.

use super::cases::cases;
use crate::promises::Tests;

/// A kind of input.
struct Row {
    number: u8,
    input: &'static str,
    /// What happens, in words; the cases have the codes.
    answer: &'static str,
    /// Tests beside the cases.
    tests: &'static [&'static str],
}

const fn row(number: u8, input: &'static str, answer: &'static str, tests: &'static [&'static str]) -> Row {
    Row { number, input, answer, tests }
}

/// The numbers have gaps: what is missing belongs to hand-over without a coordinator, which natslock does not do.
const ROWS: &[Row] = &[
    row(1, "an empty body", "all defaults; refused where a field is needed", &[]),
    row(
        2,
        "a random byte, a body of megabytes",
        "refused, or not let through by the server",
        &[
            "live::bad_input::every_beginning_of_a_good_body_and_every_byte_is_refused_or_answered",
            "live::bad_input::a_body_over_the_servers_limit_ends_its_senders_connection_only",
        ],
    ),
    row(
        3,
        "a body that is cut off anywhere",
        "refused",
        &["live::bad_input::every_beginning_of_a_good_body_and_every_byte_is_refused_or_answered"],
    ),
    row(4, "bytes behind the end of a body", "refused", &[]),
    row(
        5,
        "a MessagePack length of four billion in ten bytes",
        "refused, and no memory is taken for it",
        &["corpora::every_kept_input_is_decoded_or_refused"],
    ),
    row(
        8,
        "fields that nobody knows",
        "ignored",
        &[
            "live::bad_input::every_beginning_of_a_good_body_and_every_byte_is_refused_or_answered",
            "live::bad_input::an_owner_is_who_stands_in_the_subject_and_nobody_else",
        ],
    ),
    row(9, "a wrong type, NaN, a fraction, a negative number", "refused", &[]),
    row(10, "a lease time of 0, 1 ms, 2^64 - 1 ms", "refused with the limits", &[]),
    row(11, "a wait of 2^64 - 1 ms, a negative one", "refused with the limits", &[]),
    row(
        12,
        "version 0, 255, of another type",
        "refused with the version that is spoken; none is version 1",
        &[],
    ),
    row(
        13,
        "no name, an empty name",
        "refused, or not let through by the server",
        &["live::bad_input::what_is_no_subject_does_not_arrive"],
    ),
    row(
        14,
        "a name of a byte too many",
        "refused; the library sends none",
        &["types::name::lengths_count_encoded_bytes"],
    ),
    row(15, "a name with wildcards", "refused", &[]),
    row(
        16,
        "a name with a dot at an end, or two",
        "refused, or not let through by the server",
        &["live::bad_input::what_is_no_subject_does_not_arrive"],
    ),
    row(
        17,
        "a name with white space, line ends, NUL",
        "refused; the library encodes them",
        &["types::name::names_round_trip"],
    ),
    row(
        18,
        "a name like a subject of the server's",
        "refused; encoded, it is a name like any other",
        &["live::bad_input::names_that_look_alike_are_different_locks_and_reserved_words_are_names"],
    ),
    row(
        19,
        "names that look alike",
        "different locks, each with its own permissions",
        &[
            "live::bad_input::names_that_look_alike_are_different_locks_and_reserved_words_are_names",
            "security::roles::those_who_ask_may_do_what_their_role_says_and_nothing_else",
        ],
    ),
    row(
        21,
        "a name like one of natslock's own records",
        "a name like any other",
        &["live::bad_input::names_that_look_alike_are_different_locks_and_reserved_words_are_names"],
    ),
    row(22, "a request to a shard that does not exist", "refused", &[]),
    row(
        24,
        "no reply subject",
        "counted, and not carried out, but for a release",
        &["live::bad_input::replies_go_to_inboxes_only_and_only_a_release_needs_none"],
    ),
    row(
        25,
        "a record of the bucket as the reply subject",
        "refused, counted and logged; the record stays",
        &[
            "live::bad_input::replies_go_to_inboxes_only_and_only_a_release_needs_none",
            "security::replies::no_trick_reaches_its_end",
            "security::audit::who_was_refused_what_is_in_the_log",
        ],
    ),
    row(
        26,
        "a command of JetStream's as the reply subject",
        "refused and counted; the stream stays",
        &[
            "live::bad_input::replies_go_to_inboxes_only_and_only_a_release_needs_none",
            "security::replies::no_trick_reaches_its_end",
        ],
    ),
    row(
        28,
        "a reply subject with wildcards, of 5 000 bytes",
        "refused; others' connections stay up",
        &[
            "live::bad_input::replies_go_to_inboxes_only_and_only_a_release_needs_none",
            "security::replies::a_reply_subject_of_5000_bytes_harms_its_sender_only",
        ],
    ),
    row(
        30,
        "another owner in the body",
        "ignored",
        &["live::bad_input::an_owner_is_who_stands_in_the_subject_and_nobody_else"],
    ),
    row(
        31,
        "a forged header that says who asks",
        "ignored",
        &["live::bad_input::headers_say_nothing_of_who_asks"],
    ),
    row(
        32,
        "a release with another's token",
        "refused and logged",
        &["security::audit::who_was_refused_what_is_in_the_log"],
    ),
    row(33, "a renewal with another's id", "refused", &[]),
    row(
        34,
        "tokens that were never given",
        "refused, and no reason for a quarantine",
        &["live::bad_input::tokens_that_were_never_given_are_refused_and_alarm_nobody"],
    ),
    row(
        35,
        "requests and grants that are sent again",
        "nothing changes",
        &[
            "live::bad_input::an_id_is_used_once",
            "client::core::tests::an_answer_to_an_unknown_sending_confers_nothing",
        ],
    ),
    row(
        36,
        "a grant from somebody else",
        "refused by the server; not believed",
        &[
            "security::roles::those_who_ask_may_do_what_their_role_says_and_nothing_else",
            "client::core::tests::an_answer_to_an_unknown_sending_confers_nothing",
        ],
    ),
    row(37, "an id for another lock, another mode", "refused", &["live::bad_input::an_id_is_used_once"]),
    row(
        39,
        "an id of 64 KiB; the id of another owner",
        "refused; each owner has ids of its own",
        &["live::bad_input::an_id_is_used_once"],
    ),
    row(
        40,
        "a flood",
        "refused cheaply; others do not notice",
        &["security::fairness::while_one_owner_floods_the_others_are_served_as_before"],
    ),
    row(
        41,
        "more waiters than a lock, or an owner, may have",
        "refused with the limit",
        &["security::fairness::quotas_and_queues_are_bounded_and_named"],
    ),
    row(
        42,
        "more names than an owner may use",
        "refused with the limit",
        &["security::fairness::names_that_are_used_once_are_bounded"],
    ),
    row(
        43,
        "waits that are cancelled, again and again",
        "nothing is left of them",
        &["live::bad_input::a_storm_of_renewals_and_of_cancelled_waits_leaves_nothing_behind"],
    ),
    row(
        45,
        "renewals without end",
        "answered from memory, never a write",
        &["live::bad_input::a_storm_of_renewals_and_of_cancelled_waits_leaves_nothing_behind"],
    ),
    row(
        47,
        "a note that is too long, or has control characters",
        "refused; shown and logged escaped",
        &["cli::check::holders_and_waiters_are_shown_in_order", "cli::watch::events_are_shown_one_a_line"],
    ),
    row(
        49,
        "a subscription to others' requests and inboxes",
        "refused by the server",
        &[
            "security::roles::those_who_ask_may_do_what_their_role_says_and_nothing_else",
            "security::hostile::a_hostile_client_achieves_nothing",
        ],
    ),
    row(
        50,
        "a client that reads or writes the bucket",
        "refused by the server",
        &[
            "security::roles::those_who_ask_may_do_what_their_role_says_and_nothing_else",
            "security::hostile::a_hostile_client_achieves_nothing",
        ],
    ),
    row(
        51,
        "a forced release by who is no operator",
        "refused by the server; an operator's is logged",
        &[
            "security::roles::those_who_ask_may_do_what_their_role_says_and_nothing_else",
            "security::audit::what_the_server_refused_is_in_its_own_log",
            "security::audit::who_was_refused_what_is_in_the_log",
        ],
    ),
    row(
        52,
        "a bucket with another configuration",
        "the coordinator does not start, and names the field",
        &[
            "live::bucket::each_difference_is_refused_by_name",
            "cli::serve::a_bucket_that_is_not_fit_ends_it_and_the_field_is_named",
        ],
    ),
    row(
        53,
        "a record that cannot be read, of another version",
        "the lock is quarantined, never free",
        &["cli::recover::a_lock_whose_record_cannot_be_read"],
    ),
    row(
        54,
        "a wrong certificate, a client without TLS",
        "no connection",
        &[
            "security::tls::with_tls_the_servers_certificate_must_be_of_the_known_authority",
            "security::tls::with_mutual_tls_clients_show_a_certificate_too",
            "security::tls::a_client_that_wants_tls_does_not_go_on_without",
        ],
    ),
    row(
        55,
        "a holder whose user is taken away",
        "cut off and told; its lease ends in time",
        &["security::revoked::who_is_taken_away_from_the_server_loses_its_locks_and_knows_why"],
    ),
];

/// What nobody can send, because natslock takes nothing of the kind.
const NO_INPUT: &[(u8, &str, &str)] = &[
    (23, "an old map of the shards", "a namespace has one shard so far, and requests name no map"),
    (
        44,
        "an announcement with a forged place in a queue",
        "who waits claims no place: a new leader goes by arrival",
    ),
];

/// So many rows there are.
const COUNT: usize = 47;

#[test]
fn every_row_has_cases_or_tests_that_exist() {
    let tests = Tests::find();
    let tried = cases();
    let mut numbers: Vec<u8> = NO_INPUT.iter().map(|(number, ..)| *number).collect();
    for Row { number, input, answer, tests: named } in ROWS {
        numbers.push(*number);
        let count = tried.iter().filter(|case| case.row == *number).count();
        assert!(count + named.len() > 0, "nothing tries row {number}: {input} ({answer})");
        let missing: Vec<_> = named.iter().filter(|test| !tests.exists(test)).collect();
        assert!(missing.is_empty(), "row {number} names tests that there are not: {missing:?}");
    }
    numbers.sort_unstable();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "a number is there twice: {numbers:?}");
    assert_eq!(numbers.len(), COUNT);
    let strays = tried.iter().filter(|case| !numbers.contains(&case.row)).map(|case| case.row);
    assert_eq!(strays.collect::<Vec<_>>(), [0_u8; 0], "cases of rows that there are not");
    // Whoever may send such a thing one day must come by here.
    assert!(NO_INPUT.iter().all(|(number, ..)| tried.iter().all(|case| case.row != *number)));
}
