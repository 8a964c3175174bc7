//! A server that plays a script, for faults no real memcached can be made to show.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::SockRef;

/// No script takes longer; a client that never comes must not hang the test.
const SCRIPT_LIMIT: Duration = Duration::from_secs(180);

const POLL_PAUSE: Duration = Duration::from_millis(2);

/// One thing the server does on a connection.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Reads one line and fails the test unless it begins so.
    Expect(Vec<u8>),
    /// Reads and records so many bytes, whatever they are.
    Swallow(usize),
    Reply(Vec<u8>),
    /// Sends each byte in a segment of its own.
    ReplyByteByByte(Vec<u8>),
    /// Ends the connection in order.
    Close,
    /// Ends the connection by a reset; the client may lose what it has not read.
    Reset,
    /// Sends the bytes again and again, with a pause after each time, until the
    /// client goes away or the server is dropped.
    Repeat(Vec<u8>, Duration),
    /// Says nothing more until the server is dropped.
    Hang,
    /// Waits until the flag is up.
    Await(Arc<AtomicBool>),
    /// Raises the flag: all steps before have been done.
    Raise(Arc<AtomicBool>),
}

impl Step {
    pub(crate) fn expect(prefix: impl AsRef<[u8]>) -> Step {
        Step::Expect(prefix.as_ref().to_vec())
    }

    pub(crate) fn reply(bytes: impl AsRef<[u8]>) -> Step {
        Step::Reply(bytes.as_ref().to_vec())
    }

    pub(crate) fn reply_byte_by_byte(bytes: impl AsRef<[u8]>) -> Step {
        Step::ReplyByteByByte(bytes.as_ref().to_vec())
    }

    /// What a web server says to a client of memcached.
    pub(crate) fn http_refusal() -> Step {
        Step::reply(
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\
             Connection: close\r\n\r\n<h1>Bad</h1>\n",
        )
    }
}

/// What a server does on every line that begins with the prefix.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    prefix: Vec<u8>,
    /// The n-th time the n-th list; the last one for ever.
    turns: Vec<Vec<Step>>,
    count: Arc<AtomicUsize>,
}

impl Rule {
    pub(crate) fn new(prefix: impl AsRef<[u8]>, steps: impl Into<Vec<Step>>) -> Rule {
        Rule::in_turn(prefix, [steps.into()])
    }

    /// The n-th line that begins with the prefix is answered by the n-th list
    /// of steps, and all further ones by the last.
    pub(crate) fn in_turn(prefix: impl AsRef<[u8]>, turns: impl Into<Vec<Vec<Step>>>) -> Rule {
        Rule {
            prefix: prefix.as_ref().to_vec(),
            turns: turns.into(),
            count: Arc::default(),
        }
    }

    fn next_steps(&self) -> &[Step] {
        let turn = self.count.fetch_add(1, Ordering::SeqCst);
        &self.turns[turn.min(self.turns.len() - 1)]
    }
}

/// How a server decides what to do.
#[derive(Clone, Debug)]
enum Script {
    /// The n-th connection plays the n-th list; there may be no further one.
    InTurn(Vec<Vec<Step>>),
    /// Every line on every connection is answered by the first rule that fits.
    ByRule(Vec<Rule>),
}

/// A scripted server on a loopback port of the kernel's choice.
#[derive(Debug)]
pub(crate) struct FakeServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    script: Script,
    stopping: AtomicBool,
    deadline: Instant,
    /// All bytes received, by connection.
    received: Mutex<Vec<Vec<u8>>>,
    /// What did not go as the script says.
    complaints: Mutex<Vec<String>>,
}

impl FakeServer {
    /// The n-th connection plays the n-th list of steps and then ends.
    pub(crate) fn scripted(connections: impl Into<Vec<Vec<Step>>>) -> FakeServer {
        FakeServer::start(Script::InTurn(connections.into()))
    }

    /// Answers any number of connections, each line by the first rule that fits it.
    pub(crate) fn ruled(rules: impl Into<Vec<Rule>>) -> FakeServer {
        FakeServer::start(Script::ByRule(rules.into()))
    }

    fn start(script: Script) -> FakeServer {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        // So that the acceptor sees the end of the test without one more client.
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script,
            stopping: AtomicBool::new(false),
            deadline: Instant::now() + SCRIPT_LIMIT,
            received: Mutex::default(),
            complaints: Mutex::default(),
        });
        let acceptor = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept_all(&listener, &shared))
        };
        FakeServer {
            address,
            shared,
            acceptor: Some(acceptor),
        }
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// What each connection has sent so far.
    pub(crate) fn received(&self) -> Vec<Vec<u8>> {
        self.shared.received.lock().unwrap().clone()
    }

    /// Ends the server; what went against the script, besides what was received.
    fn finish(&mut self) -> Vec<String> {
        self.shared.stopping.store(true, Ordering::SeqCst);
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().unwrap();
        }
        self.shared.complaints.lock().unwrap().clone()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        let complaints = self.finish();
        // A second panic would abort the test run and hide the first.
        if !thread::panicking() {
            assert!(complaints.is_empty(), "fake server: {complaints:?}");
        }
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.stopping.load(Ordering::SeqCst) || Instant::now() >= self.deadline
    }

    fn complain(&self, complaint: String) {
        self.complaints.lock().unwrap().push(complaint);
    }

    fn record(&self, connection: usize, bytes: &[u8]) {
        self.received.lock().unwrap()[connection].extend_from_slice(bytes);
    }
}

fn accept_all(listener: &TcpListener, shared: &Shared) {
    thread::scope(|scope| {
        while !shared.is_over() {
            match listener.accept() {
                Ok((stream, _)) => {
                    let number = {
                        let mut received = shared.received.lock().unwrap();
                        received.push(Vec::new());
                        received.len() - 1
                    };
                    scope.spawn(move || serve(stream, number, shared));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(POLL_PAUSE),
                Err(error) => shared.complain(format!("accept: {error}")),
            }
        }
    });
}

fn serve(stream: TcpStream, number: usize, shared: &Shared) {
    stream.set_nonblocking(false).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(POLL_PAUSE)).unwrap();
    stream.set_write_timeout(Some(POLL_PAUSE)).unwrap();
    let mut connection = Connection {
        stream,
        number,
        shared,
        unread: Vec::new(),
    };
    match &shared.script {
        Script::InTurn(connections) => match connections.get(number) {
            Some(steps) => {
                if connection.play(steps).is_some() {
                    connection.close();
                }
            }
            None => shared.complain(format!("connection {number} has no script")),
        },
        Script::ByRule(rules) => while connection.obey(rules).is_some() {},
    }
}

/// Puts the number that a meta command has for its `O` in the place of `O?`.
fn with_opaque(reply: &[u8], line: &[u8]) -> Vec<u8> {
    let line = String::from_utf8_lossy(line);
    let Some(opaque) = line.split_whitespace().find(|word| word.starts_with('O')) else {
        return reply.to_vec();
    };
    let Some(at) = reply.windows(2).position(|pair| pair == b"O?") else {
        return reply.to_vec();
    };
    [&reply[..at], opaque.as_bytes(), &reply[at + 2..]].concat()
}

struct Connection<'a> {
    stream: TcpStream,
    number: usize,
    shared: &'a Shared,
    /// Received, but not taken by a step yet.
    unread: Vec<u8>,
}

impl Connection<'_> {
    /// Plays all steps; `None` when the connection has ended on the way.
    fn play(&mut self, steps: &[Step]) -> Option<()> {
        steps.iter().try_for_each(|step| self.play_step(step))
    }

    fn play_step(&mut self, step: &Step) -> Option<()> {
        match step {
            Step::Expect(prefix) => self.expect(prefix),
            Step::Swallow(count) => self.take(*count).map(drop),
            Step::Reply(bytes) => self.write(bytes),
            Step::ReplyByteByByte(bytes) => bytes.iter().try_for_each(|byte| self.write(&[*byte])),
            Step::Close => {
                self.close();
                None
            }
            Step::Reset => {
                // To linger for no time makes the close a reset.
                let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
                None
            }
            Step::Await(flag) => {
                while !flag.load(Ordering::SeqCst) {
                    if self.shared.is_over() {
                        return None;
                    }
                    thread::sleep(POLL_PAUSE);
                }
                Some(())
            }
            Step::Raise(flag) => {
                flag.store(true, Ordering::SeqCst);
                Some(())
            }
            Step::Repeat(bytes, pause) => {
                while self.write(bytes).is_some() {
                    thread::sleep(*pause);
                }
                None
            }
            Step::Hang => {
                while !self.shared.is_over() {
                    thread::sleep(POLL_PAUSE);
                }
                None
            }
        }
    }

    /// Ends the connection in order.
    ///
    /// What the client sends meanwhile is read: a close with unread bytes would
    /// be a reset, and the client could lose the last reply.
    fn close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        while self.read_more().is_some() {}
    }

    fn expect(&mut self, prefix: &[u8]) -> Option<()> {
        let expected = String::from_utf8_lossy(prefix);
        let Some(line) = self.line() else {
            self.shared.complain(format!(
                "connection {} ended; expected {expected:?}",
                self.number
            ));
            return None;
        };
        if !line.starts_with(prefix) {
            let found = String::from_utf8_lossy(&line);
            self.shared.complain(format!(
                "connection {} sent {found:?}; expected {expected:?}",
                self.number
            ));
            return None;
        }
        Some(())
    }

    /// Answers one line; `None` at the end of the connection.
    fn obey(&mut self, rules: &[Rule]) -> Option<()> {
        let line = self.line()?;
        if let Some(rule) = rules.iter().find(|rule| line.starts_with(&rule.prefix)) {
            let steps = rule.next_steps();
            return steps.iter().try_for_each(|step| {
                if let Step::Reply(bytes) = step {
                    self.write(&with_opaque(bytes, &line))
                } else {
                    self.play_step(step)
                }
            });
        }
        let line = String::from_utf8_lossy(&line);
        self.shared.complain(format!("no rule for {line:?}"));
        None
    }

    /// The next line with its end.
    fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                return self.take(end + 1);
            }
            self.read_more()?;
        }
    }

    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.unread.len() < count {
            self.read_more()?;
        }
        let rest = self.unread.split_off(count);
        Some(std::mem::replace(&mut self.unread, rest))
    }

    /// Reads more, or says that the connection, or the test, has ended. What a
    /// client sent before that end is read first, however late this thread comes.
    fn read_more(&mut self) -> Option<()> {
        let mut bytes = [0; 4096];
        while Instant::now() < self.shared.deadline {
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => {
                    self.shared.record(self.number, &bytes[..count]);
                    self.unread.extend_from_slice(&bytes[..count]);
                    return Some(());
                }
                Err(error) if is_pause(error.kind()) => {
                    if self.shared.is_over() {
                        return None;
                    }
                }
                // The client is free to break off: many tests make it do so.
                Err(_) => return None,
            }
        }
        None
    }

    fn write(&mut self, mut bytes: &[u8]) -> Option<()> {
        while !bytes.is_empty() {
            if self.shared.is_over() {
                return None;
            }
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if is_pause(error.kind()) => {}
                Err(_) => return None,
            }
        }
        Some(())
    }
}

fn is_pause(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::client::Client;

    fn read_all(address: &str, request: &str) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(SCRIPT_LIMIT))?;
        stream.write_all(request.as_bytes())?;
        let mut received = Vec::new();
        stream.read_to_end(&mut received)?;
        Ok(received)
    }

    #[test]
    fn connections_play_their_scripts_in_turn() {
        let server = FakeServer::scripted([
            vec![
                Step::expect("version"),
                Step::reply_byte_by_byte("VERSION 9\r\n"),
                Step::expect("ms "),
                Step::Swallow(3),
                Step::reply("HD\r\n"),
            ],
            vec![Step::expect("stats"), Step::http_refusal(), Step::Close],
        ]);
        let mut client = Client::connect(&server.address());
        assert_eq!(client.command("version"), "VERSION 9");
        assert_eq!(client.ms(b"k", b"v", "F1"), "HD");
        let answer = read_all(&server.address(), "stats\r\n").unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 400"));
        let received = server.received();
        assert_eq!(received[0], b"version\r\nms k 1 F1\r\nv\r\n");
        assert_eq!(received[1], b"stats\r\n");
    }

    #[test]
    fn rules_answer_every_connection() {
        let server = FakeServer::ruled([
            Rule::new("version", [Step::reply("VERSION 9\r\n")]),
            Rule::new("quit", [Step::Close]),
            Rule::new("reset", [Step::reply("no"), Step::Reset]),
        ]);
        for _ in 0..3 {
            let answer = read_all(&server.address(), "version\r\nversion\r\nquit\r\n").unwrap();
            assert_eq!(answer, b"VERSION 9\r\nVERSION 9\r\n");
        }
        let error = read_all(&server.address(), "reset\r\n").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_hanging_server_ends_with_the_test() {
        let server = FakeServer::scripted([vec![Step::expect("version"), Step::Hang]]);
        let mut client = Client::connect(&server.address());
        client.send(b"version\r\n");
        assert!(!client.answers_within(Duration::from_millis(30)));
        drop(server);
        assert!(client.is_closed());
    }

    #[test]
    fn what_a_client_has_sent_is_read_though_the_test_has_ended() {
        let line = [&[b'x'; 256 * 1024][..], b"\r\n"].concat();
        let mut server = FakeServer::scripted([vec![
            Step::expect("version"),
            Step::reply("VERSION 9\r\n"),
            Step::expect("x"),
        ]]);
        let mut client = Client::connect(&server.address());
        assert_eq!(client.command("version"), "VERSION 9");
        client.send(&line);
        assert_eq!(server.finish(), [""; 0]);
        assert!(server.received()[0].ends_with(&line));
    }

    #[test]
    fn what_the_script_does_not_expect_is_a_complaint() {
        let mut wrong_line = FakeServer::scripted([vec![Step::expect("version")]]);
        assert_eq!(read_all(&wrong_line.address(), "stats\r\n").unwrap(), b"");
        let complaint = r#"connection 0 sent "stats\r\n"; expected "version""#;
        assert_eq!(wrong_line.finish(), [complaint]);
        let mut no_rule = FakeServer::ruled([]);
        assert_eq!(read_all(&no_rule.address(), "stats\r\n").unwrap(), b"");
        assert_eq!(no_rule.finish(), [r#"no rule for "stats\r\n""#]);
        // Both were taken note of here; dropping them must not fail the test.
        wrong_line.shared.complaints.lock().unwrap().clear();
        no_rule.shared.complaints.lock().unwrap().clear();
    }
}
