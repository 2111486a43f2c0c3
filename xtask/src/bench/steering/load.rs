//! The loads: what is done for a slot's time, and what is counted of it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::SITE;
use super::server::{BYTES_IN, BYTES_OUT, CONNECTIONS, CONNECTIONS_UNWATCHED, DATAGRAMS, EXCHANGES, TURNS};

/// Bytes of one write or read in bulk.
pub(super) const PIECE: usize = 64 << 10;
/// Bytes of a datagram, and how many are under way at a time.
pub(super) const DATAGRAM: usize = 64;
const WINDOW: usize = 16;
/// What takes longer than this is broken.
const PATIENCE: Duration = Duration::from_secs(10);
/// Times kept of a slot, to bound the line that tells them.
const TIMES: usize = 4096;

/// One kind of traffic.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// What is compared: how much, or how long each takes.
    pub(super) kind: Kind,
    /// Whether each thing is a connection that says its first words, which the programs read.
    pub(super) says_first_words: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Bytes.
    Bulk,
    /// Things, and no more is known of them.
    Count,
    /// Things, each with its time.
    Latency,
}

/// In the order in which they are run: the answers of the resolver explain the site to the programs.
pub(super) static LOADS: [Load; 8] = [
    Load {
        name: "dns",
        what: "a socket, a question over UDP, dnsmasq's answer",
        kind: Kind::Latency,
        says_first_words: false,
    },
    Load {
        name: "connect",
        what: "connect() to a steered port: its first words are to be read",
        kind: Kind::Latency,
        says_first_words: false,
    },
    Load {
        name: "connect-other",
        what: "connect() to a port that is not steered",
        kind: Kind::Latency,
        says_first_words: false,
    },
    Load {
        name: "exchange",
        what: "connect(), a ClientHello of 1.7 KB, one byte back, close",
        kind: Kind::Latency,
        says_first_words: true,
    },
    Load {
        name: "turns",
        what: "a byte there and back on an open TCP connection",
        kind: Kind::Latency,
        says_first_words: false,
    },
    Load {
        name: "datagrams",
        what: "UDP datagrams of 64 bytes, each way",
        kind: Kind::Count,
        says_first_words: false,
    },
    Load {
        name: "bulk-out",
        what: "one TCP connection, from the client",
        kind: Kind::Bulk,
        says_first_words: false,
    },
    Load {
        name: "bulk-in",
        what: "one TCP connection, to the client",
        kind: Kind::Bulk,
        says_first_words: false,
    },
];

/// What one slot came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sample {
    /// Bytes or things.
    pub(super) count: f64,
    pub(super) seconds: f64,
    /// Processor time of the client, system calls and its share of interrupts included.
    pub(super) cpu_seconds: f64,
    /// Nanoseconds of each thing.
    pub(super) times: Vec<f64>,
}

impl Sample {
    pub(super) fn to_json(&self) -> Value {
        json!({ "count": self.count, "seconds": self.seconds, "cpu": self.cpu_seconds, "times": self.times })
    }

    pub(super) fn from_json(value: &Value) -> Result<Self> {
        let number = |name: &str| value[name].as_f64().with_context(|| format!("no {name} in {value}"));
        Ok(Self {
            count: number("count")?,
            seconds: number("seconds")?,
            cpu_seconds: number("cpu")?,
            times: value["times"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect(),
        })
    }
}

/// Runs a load by its name for about this long.
pub(super) fn run(name: &str, slot: Duration) -> Result<Sample> {
    match name {
        "dns" => repeated(slot, ask),
        "connect" => repeated(slot, || connect(CONNECTIONS)),
        "connect-other" => repeated(slot, || connect(CONNECTIONS_UNWATCHED)),
        "exchange" => {
            let hello = client_hello();
            repeated(slot, || exchange(&hello))
        }
        "turns" => {
            let mut connection = open(TURNS)?;
            connection.set_nodelay(true)?;
            repeated(slot, || {
                let begun = Instant::now();
                connection.write_all(b"x")?;
                connection.read_exact(&mut [0])?;
                Ok(begun.elapsed())
            })
        }
        "datagrams" => {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.set_read_timeout(Some(PATIENCE))?;
            counted(slot, || datagrams(&socket))
        }
        "bulk-out" => {
            let mut connection = open(BYTES_IN)?;
            let piece = vec![0; PIECE];
            counted(slot, || {
                connection.write_all(&piece)?;
                Ok(PIECE)
            })
        }
        "bulk-in" => {
            let mut connection = open(BYTES_OUT)?;
            let mut piece = vec![0; PIECE];
            counted(slot, || match connection.read(&mut piece)? {
                0 => bail!("the server ended"),
                read => Ok(read),
            })
        }
        _ => bail!("no load is called {name:?}"),
    }
}

fn repeated(slot: Duration, mut one: impl FnMut() -> Result<Duration>) -> Result<Sample> {
    let mut times = Vec::new();
    let mut sample = counted(slot, || {
        let took = one()?;
        if times.len() < TIMES {
            times.push(took.as_nanos() as f64);
        }
        Ok(1)
    })?;
    sample.times = times;
    Ok(sample)
}

fn counted(slot: Duration, mut one: impl FnMut() -> Result<usize>) -> Result<Sample> {
    let (begun, cpu) = (Instant::now(), cpu_time());
    let mut count = 0;
    while begun.elapsed() < slot {
        count += one()?;
    }
    Ok(Sample {
        count: count as f64,
        seconds: begun.elapsed().as_secs_f64(),
        cpu_seconds: (cpu_time() - cpu).as_secs_f64(),
        times: Vec::new(),
    })
}

fn to(port: u16) -> Result<SocketAddr> {
    Ok(SocketAddr::new(SITE.1.parse()?, port))
}

fn open(port: u16) -> Result<TcpStream> {
    let connection = TcpStream::connect_timeout(&to(port)?, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    Ok(connection)
}

/// The system call alone. Then it waits until the server has closed, which cannot fall behind so, and ends with a reset, so
/// that no port waits for late segments.
fn connect(port: u16) -> Result<Duration> {
    let to = to(port)?.into();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_linger(Some(Duration::ZERO))?;
    let begun = Instant::now();
    socket.connect(&to)?;
    let took = begun.elapsed();
    let mut socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE))?;
    ensure!(socket.read(&mut [0])? == 0, "the server said something");
    Ok(took)
}

fn exchange(hello: &[u8]) -> Result<Duration> {
    let begun = Instant::now();
    let mut connection = open(EXCHANGES)?;
    SockRef::from(&connection).set_linger(Some(Duration::ZERO))?;
    connection.write_all(hello)?;
    connection.read_exact(&mut [0])?;
    drop(connection);
    Ok(begun.elapsed())
}

/// What a resolver of a C library does: a socket for the question.
fn ask() -> Result<Duration> {
    let mut question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    for label in SITE.0.split('.') {
        question.push(u8::try_from(label.len())?);
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(b"\0\x00\x01\x00\x01");
    let mut answer = [0; 512];
    let begun = Instant::now();
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect((lab::RESOLVER[0], 53))?;
    socket.send(&question)?;
    let length = socket.recv(&mut answer)?;
    let took = begun.elapsed();
    ensure!(length > question.len() && answer[3] & 15 == 0, "the resolver does not know {}", SITE.0);
    Ok(took)
}

/// A window of datagrams there and back; counts both ways.
fn datagrams(socket: &UdpSocket) -> Result<usize> {
    let to = to(DATAGRAMS)?;
    let mut bytes = [0; DATAGRAM];
    for _ in 0..WINDOW {
        socket.send_to(&bytes, to)?;
    }
    for _ in 0..WINDOW {
        socket.recv(&mut bytes)?;
    }
    Ok(2 * WINDOW)
}

/// The hello of a client with post-quantum keys, of which nothing matters but name and size.
fn client_hello() -> Vec<u8> {
    let name = SITE.0.as_bytes();
    let sized = |content: &[u8]| [&(content.len() as u16).to_be_bytes()[..], content].concat();
    let entry = [&[0][..], &sized(name)].concat();
    let server_name = [&[0, 0][..], &sized(&sized(&entry))].concat();
    let key_share = [&[0, 51][..], &sized(&[7; 1500])].concat();
    let extensions = sized(&[key_share, server_name].concat());
    let fixed = [&[3, 3][..], &[9; 32], &[0], &sized(&[0x13, 1]), &[1, 0]].concat();
    let body = [fixed, extensions].concat();
    let message = [&[1, 0][..], &sized(&body)].concat();
    [&[22, 3, 1][..], &sized(&message)].concat()
}

/// Processor time of this thread, to the nanosecond.
#[allow(unsafe_code, reason = "the standard library does not know this clock")]
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a clock of this thread, and room for what it shows.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_comes_back_as_it_was() {
        let sample = Sample { count: 3.0, seconds: 0.5, cpu_seconds: 0.25, times: vec![1.0, 2.0] };
        assert_eq!(Sample::from_json(&sample.to_json()).unwrap(), sample);
        assert!(Sample::from_json(&json!({ "count": 1 })).is_err());
    }

    #[test]
    fn the_hello_says_how_long_it_is() {
        let hello = client_hello();
        assert_eq!(usize::from(u16::from_be_bytes([hello[3], hello[4]])), hello.len() - 5);
        assert_eq!(usize::from(u16::from_be_bytes([hello[7], hello[8]])), hello.len() - 9);
        assert!((1500..1800).contains(&hello.len()));
    }
}
