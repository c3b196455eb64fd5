//! The engine's behaviour as transcripts: `tests/scenarios/*.txt`, each a story about one engine.
//!
//! A block is some commands, a line `----`, and what came out of the engine because of them, in order (`nothing`
//! where it kept quiet). Lines with `#` are for people. `REWRITE=1 cargo test scenarios` writes what comes out
//! now into the files: read the difference before you keep it.
//!
//! ```text
//! alice acquire orders.42 id=a wait=10s
//! ----
//! write lock.orders.42 expect=0 holders=[alice+0]
//!
//! ack
//! ----
//! event granted orders.42 alice@768
//! alice <- granted id=a token=768 ttl=30s waited=0s
//! ```
//!
//! In a record `alice+0` is a holder whose token this very write makes (index 0), `alice@768` one that has token
//! 768 already. A token is revision x 256 + index; the first record of a lock has revision 3, because `epoch` and
//! `lease` are 1 and 2. Time stands still between commands; so does the store, and the standing consumer.
//!
//! Clients (`as=NAME` names the reply subject, `silent` has none):
//!
//! ```text
//! OWNER acquire LOCK id=ID [shared | permits=N capacity=N] [wait=10s] [ttl=30s] [note=TEXT] [progress]
//! OWNER renew LOCK id=ID [token=N]           OWNER renew-many ID[:TOKEN],ID...
//! OWNER release LOCK id=ID [token=N] [keep=5s]
//! OWNER check LOCK [limit=N]                 OWNER list [prefix=P] [limit=N] [after=LOCK]
//! OWNER admin-release LOCK [reason=WORD]
//! ```
//!
//! The store, about the write of LOCK that has no answer, or `batch` (neither: the only one there is):
//!
//! ```text
//! ack [LOCK]              carried out and answered; also: answered now, where it was carried out before
//! carry-out [LOCK]        carried out, the answer is on its way
//! lose-answer [LOCK]      carried out, no answer ever
//! lose-write [LOCK]       never carried out, no answer ever
//! refuse-for-now [LOCK]   10164, 503
//! deny [LOCK]             refused by a server that slept, and does not know that there is a record
//! deliver [to=N]          the standing consumer delivers all there is (up to revision N); what was overwritten
//!                         meanwhile it never sees
//! foreign LOCK [OWNER:ID[@TOKEN][=kept|=shared]]...   another leader writes this record (no holders: free)
//! foreign-delete LOCK     foreign-garble LOCK     foreign-epoch     purge LOCK
//! ```
//!
//! The leader and time:
//!
//! ```text
//! term act=12s overlap=0s      first of all: until when the leader may act; until when a predecessor may have
//!      embargo=0s              conferred time; until when a recovered shard grants and renews nothing
//! limits waiters=N holders=N parked=N owner=N owner-waiters=N owner-names=N          first of all, too
//! lease                        the `lease` record is written now: 12 s x 0.99 more to act, and a confirmation
//! wait 10s                     undelivered id=ID      quarantine WORD       shutdown
//! ```

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use natslock::engine::message::{
    Acquire, Ask, EntryContent, LeaseRef, LockRecord, StoredHolder, StoredToken,
};
use natslock::engine::{LISTED, Limits, Term};
use natslock::types::{
    AttemptId, Claim, CoordinatorId, Epoch, LeaseId, LockName, OwnerName, Permits, Token, Ttl, Wait, WallTime,
};

use crate::support::world::{Fate, World};

#[test]
fn transcripts_say_what_happens() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let rewrite = std::env::var_os("REWRITE").is_some();
    let mut differences = String::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|ext| ext == "txt")) {
        let text = std::fs::read_to_string(file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let played = std::panic::catch_unwind(|| play(&text));
        let now = match played {
            Ok(Ok(now)) => now,
            Ok(Err(why)) => {
                let _ = writeln!(differences, "tests/scenarios/{name}:{why}");
                continue;
            }
            Err(_) => {
                let _ = writeln!(differences, "tests/scenarios/{name}: a rule is broken, see above");
                continue;
            }
        };
        if rewrite {
            std::fs::write(file, now).unwrap();
        } else if now != text {
            differences.push_str(&difference(&name, &text, &now));
        }
    }
    assert!(
        differences.is_empty(),
        "the engine does something else than its transcripts say; REWRITE=1 takes it over:\n{differences}"
    );
}

/// The first line that differs.
fn difference(name: &str, then: &str, now: &str) -> String {
    let mut lines = then.lines().zip(now.lines()).enumerate();
    let Some((index, (then, now))) = lines.find(|(_, (then, now))| then != now) else {
        return format!("tests/scenarios/{name}: the end differs\n");
    };
    format!("tests/scenarios/{name}:{}\n  written  {then}\n  happens  {now}\n", index + 1)
}

/// The text with what happens now in place of what it expects.
fn play(text: &str) -> Result<String, String> {
    let mut stage = Stage::new();
    let (mut played, mut expecting) = (String::new(), false);
    for (index, line) in text.lines().enumerate() {
        if line == "----" {
            expecting = true;
            played.push_str("----\n");
            let effects = stage.world().take_effects();
            for effect in if effects.is_empty() { vec!["nothing".to_owned()] } else { effects } {
                let _ = writeln!(played, "{effect}");
            }
        } else if line.is_empty() {
            expecting = false;
            played.push('\n');
        } else if !expecting {
            let _ = writeln!(played, "{line}");
            if !line.starts_with('#') {
                stage.perform(line).map_err(|why| format!("{}: {why}: {line}", index + 1))?;
            }
        }
    }
    Ok(played)
}

/// One engine, and what it is to become before the first command.
struct Stage {
    world: Option<World>,
    limits: Limits,
    act: Duration,
    overlap: Duration,
    embargo: Duration,
}

/// The words of a command: `key=value` pairs and others.
struct Words<'a>(VecDeque<&'a str>);

impl<'a> Words<'a> {
    fn next(&mut self) -> Result<&'a str, String> {
        self.0.pop_front().ok_or_else(|| "a word is missing".to_owned())
    }

    fn take(&mut self, key: &str) -> Option<&'a str> {
        let index = self.0.iter().position(|word| word.split_once('=').is_some_and(|(k, _)| k == key))?;
        self.0.remove(index)?.split_once('=').map(|(_, value)| value)
    }

    fn parse<T: std::str::FromStr>(&mut self, key: &str) -> Result<Option<T>, String> {
        self.take(key).map(|text| text.parse().map_err(|_| format!("{key}={text} is none"))).transpose()
    }

    fn span(&mut self, key: &str) -> Result<Option<Duration>, String> {
        self.take(key).map(span).transpose()
    }

    fn flag(&mut self, word: &str) -> bool {
        let index = self.0.iter().position(|w| *w == word);
        index.is_some_and(|index| self.0.remove(index).is_some())
    }

    fn end(self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("what is {:?}", self.0)) }
    }
}

fn span(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| format!("{text} is no length of time"))?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        "h" => Ok(Duration::from_secs(number * 3600)),
        _ => Err(format!("{text} has no unit")),
    }
}

fn lock(text: &str) -> Result<LockName, String> {
    LockName::encode(text).map_err(|why| why.to_string())
}

fn owner(text: &str) -> Result<OwnerName, String> {
    OwnerName::encode(text).map_err(|why| why.to_string())
}

fn id(text: &str) -> Result<LeaseId, String> {
    text.parse().map_err(|why| format!("{why}"))
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap()
}

impl Stage {
    fn new() -> Self {
        Self {
            world: None,
            limits: Limits { put_off_for: Duration::from_millis(5), ..Limits::default() },
            act: Duration::from_secs(1_000_000),
            overlap: Duration::ZERO,
            embargo: Duration::ZERO,
        }
    }

    fn world(&mut self) -> &mut World {
        let Self { world, limits, act, overlap, embargo } = self;
        world.get_or_insert_with(|| {
            let mut world = World::new();
            let epoch = Epoch::new(world.bucket.take_over());
            let term = Term {
                epoch,
                coordinator: CoordinatorId(1),
                attempts_from: 0,
                act_until: world.now + *act,
                overlap_until: world.now + *overlap,
                embargo_until: world.now + *embargo,
            };
            world.lead(term, limits.clone());
            world.deliver_all(0);
            world
        })
    }

    fn perform(&mut self, line: &str) -> Result<(), String> {
        let mut words = Words(line.split_whitespace().collect());
        match words.next()? {
            "term" => {
                self.act = words.span("act")?.unwrap_or(self.act);
                self.overlap = words.span("overlap")?.unwrap_or(self.overlap);
                self.embargo = words.span("embargo")?.unwrap_or(self.embargo);
            }
            "limits" => {
                let limits = &mut self.limits;
                limits.waiters_per_lock_max = words.parse("waiters")?.unwrap_or(limits.waiters_per_lock_max);
                limits.holders_per_lock_max = words.parse("holders")?.unwrap_or(limits.holders_per_lock_max);
                limits.leases_per_owner_max = words.parse("owner")?.unwrap_or(limits.leases_per_owner_max);
                let waiters = words.parse("owner-waiters")?;
                limits.waiters_per_owner_max = waiters.unwrap_or(limits.waiters_per_owner_max);
                let names = words.parse("owner-names")?;
                limits.names_per_owner_max = names.unwrap_or(limits.names_per_owner_max);
                limits.parked_max = words.parse("parked")?.unwrap_or(limits.parked_max);
            }
            "lease" => {
                self.world().send_lease(0);
                self.world().answer_lease(0);
            }
            "wait" => {
                let how_long = span(words.next()?)?;
                self.world().advance(how_long, None);
            }
            "undelivered" => {
                let id = id(words.take("id").ok_or("which id")?)?;
                let number = self.world().grant_of(0, &id).ok_or("no grant was sent for it")?;
                self.world().return_grant(0, number);
            }
            "quarantine" => {
                let why = words.next()?.to_owned();
                self.world().call(0, |engine, _| engine.quarantine(why));
            }
            "shutdown" => self.world().call(0, |engine, now| engine.handle_shutdown(now)),
            first => {
                if !self.store(first, &mut words)? {
                    self.client(first, &mut words)?;
                }
            }
        }
        words.end()
    }

    /// True where it was a command to the store.
    fn store(&mut self, first: &str, words: &mut Words<'_>) -> Result<bool, String> {
        let world = self.world();
        let fate = match first {
            "ack" => Fate::Answered,
            "carry-out" => Fate::CarriedOut,
            "lose-answer" => Fate::AnswerLost,
            "lose-write" => Fate::Lost,
            "refuse-for-now" => Fate::NotNow,
            "deny" => Fate::Denied,
            "deliver" => {
                let to: u64 = words.parse("to")?.unwrap_or(u64::MAX);
                while world.delivered(0).get() < to && world.deliver(0, true) {}
                return Ok(true);
            }
            "foreign" => {
                let name = lock(words.next()?)?;
                let record = foreign(world, words)?;
                world.put(&name, EntryContent::Record(record));
                return Ok(true);
            }
            "foreign-delete" => {
                world.put(&lock(words.next()?)?, EntryContent::Deleted);
                return Ok(true);
            }
            "foreign-garble" => {
                world.put(&lock(words.next()?)?, EntryContent::Garbled("not MessagePack".into()));
                return Ok(true);
            }
            "foreign-epoch" => {
                world.bucket.take_over();
                return Ok(true);
            }
            "purge" => {
                world.purge(&lock(words.next()?)?);
                return Ok(true);
            }
            _ => return Ok(false),
        };
        let which = words.0.pop_front();
        let fits = |op: &crate::support::world::Op| match which {
            None => true,
            Some("batch") => op.lock().is_none(),
            Some(name) => op.lock().is_some_and(|lock| lock.to_string() == name),
        };
        let pending = world.leaders[0].pending.iter().enumerate();
        let fitting: Vec<_> =
            pending.filter(|(_, pending)| fits(&pending.op)).map(|(index, _)| index).collect();
        let [index] = fitting[..] else { return Err(format!("{} writes fit", fitting.len())) };
        world.decide(0, index, fate);
        Ok(true)
    }

    fn client(&mut self, who: &str, words: &mut Words<'_>) -> Result<(), String> {
        let owner = owner(who)?;
        let verb = words.next()?;
        let label = words.take("as").unwrap_or_default().to_owned();
        let heard = !words.flag("silent");
        let ask = match verb {
            "acquire" => acquire(words)?,
            "renew" => Ask::Renew { name: lock(words.next()?)?, lease: lease(words)? },
            "renew-many" => {
                let leases: Result<_, String> = words
                    .next()?
                    .split(',')
                    .map(|lease| {
                        let (of, token) = lease.split_once(':').map_or((lease, None), |(i, t)| (i, Some(t)));
                        let token = token.map(|t| t.parse().map_err(|_| format!("{t} is no token")));
                        Ok(LeaseRef { id: id(of)?, token: token.transpose()?.map(Token::from_raw) })
                    })
                    .collect();
                Ask::RenewMany { leases: leases? }
            }
            "release" => Ask::Release {
                name: lock(words.next()?)?,
                lease: lease(words)?,
                keep: words.span("keep")?.unwrap_or_default(),
            },
            "check" => {
                Ask::Check { name: lock(words.next()?)?, limit: words.parse("limit")?.unwrap_or(LISTED) }
            }
            "list" => Ask::List {
                prefix: words.take("prefix").unwrap_or_default().to_owned(),
                limit: words.parse("limit")?.unwrap_or(LISTED),
                after: words.take("after").map(lock).transpose()?,
            },
            "admin-release" => Ask::AdminRelease {
                name: lock(words.next()?)?,
                reason: words.take("reason").map(str::to_owned),
            },
            other => return Err(format!("{other} is no verb")),
        };
        let world = self.world();
        if let Ask::AdminRelease { name, .. } = &ask {
            world.witness.meddle(&name.clone());
        }
        world.ask(0, &owner, &label, ask, heard);
        Ok(())
    }
}

fn lease(words: &mut Words<'_>) -> Result<LeaseRef, String> {
    let token = words.parse("token")?.map(Token::from_raw);
    Ok(LeaseRef { id: id(words.take("id").ok_or("which id")?)?, token })
}

fn acquire(words: &mut Words<'_>) -> Result<Ask, String> {
    let name = lock(words.next()?)?;
    let claim = match (words.parse("permits")?, words.parse("capacity")?) {
        (permits, Some(capacity)) => {
            Claim::Counting(Permits::new(permits.unwrap_or(1), capacity).map_err(|why| why.to_string())?)
        }
        _ if words.flag("shared") => Claim::Shared,
        _ => Claim::Exclusive,
    };
    let ttl = words.span("ttl")?.map_or_else(|| Ok(Ttl::default()), |span| Ttl::from_millis(ms(span)));
    let wait = words.span("wait")?.map_or(Ok(Wait::TRY), |span| Wait::from_millis(ms(span)));
    Ok(Ask::Acquire(Acquire {
        name,
        id: id(words.take("id").ok_or("which id")?)?,
        claim,
        ttl: ttl.map_err(|why| why.to_string())?,
        wait: wait.map_err(|why| why.to_string())?,
        note: words.parse("note")?,
        progress: words.flag("progress"),
    }))
}

/// The record of another leader: `OWNER:ID`, `OWNER:ID@TOKEN`, either with `=kept` or `=shared`.
fn foreign(world: &World, words: &mut Words<'_>) -> Result<LockRecord, String> {
    let mut holders = Vec::new();
    for (index, word) in (0..=u8::MAX).zip(words.0.drain(..)) {
        let (word, how) = word.split_once('=').unwrap_or((word, ""));
        let (whose, of) = word.split_once(':').ok_or("OWNER:ID")?;
        let (of, token) = of.split_once('@').map_or((of, None), |(of, token)| (of, Some(token)));
        let token =
            token.map(|token| token.parse().map_err(|_| format!("{token} is no token"))).transpose()?;
        let owner = owner(whose)?;
        let known = token.map(|token| StoredToken::Known(Token::from_raw(token)));
        holders.push(StoredHolder {
            id: id(of)?.hash(&owner),
            owner,
            claim: if how == "shared" { Claim::Shared } else { Claim::Exclusive },
            token: known.unwrap_or(StoredToken::Index(index)),
            ttl: Ttl::default(),
            kept: how == "kept",
            granted_at: WallTime(world.clocks().wall.0),
            note: None,
        });
    }
    let attempt = AttemptId { coordinator: CoordinatorId(99), number: 0 };
    Ok(LockRecord { attempt, epoch: Epoch::new(world.bucket.epoch), holders })
}
