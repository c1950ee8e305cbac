//! Who signs in on a connection, and what may be opened on it: one channel at a time, for SFTP, and nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use bytes::Bytes;
use dipper_core::db::client_keys;
use dipper_core::secret::Secret;
use dipper_core::{Caller, Role};
use russh::keys::PublicKey;
use russh::server::{Auth, ChannelOpenHandle, Handle, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Disconnect, MethodKind, MethodSet, Pty, Sig};
use tokio::runtime;

use super::connection::Connection;
use super::handler::Handler;
use super::limits::SessionPlace;
use super::wire::{self, Packet, Rope};
use super::{Shared, keys, places};
use crate::metrics;
use crate::signin::password::SignInError;

/// Attempts to open something that is refused, before a connection is ended for it.
const MAX_REFUSED: usize = 32;
/// The largest piece of an answer that is handed to the connection at once.
const PIECE: usize = 128 * 1024;
/// SSH_OPEN_RESOURCE_SHORTAGE of RFC 4254, section 5.1.
const RESOURCE_SHORTAGE: u32 = 4;
/// SSH_EXTENDED_DATA_STDERR of RFC 4254, section 5.2.
const STDERR: u32 = 1;
const SFTP_ALONE: &str = "This server speaks SFTP alone: use sftp, or scp with -s.\r\n";

/// Why a connection was ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    /// The protocol was not kept, or the connection was lost.
    #[error(transparent)]
    Protocol(#[from] russh::Error),
    /// More was sent than can be kept.
    #[error("the client sends more than is taken from it, and does not read the answers")]
    Overrun,
    /// Too much was asked for that is not offered.
    #[error("the client asked for too many things that are not offered")]
    Refused,
}

/// One connection, from its first word to its last.
pub(super) struct SshSession {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    peer: SocketAddr,
    caller: Option<Caller>,
    place: Option<SessionPlace>,
    channel: Option<OpenChannel>,
    refused: usize,
}

struct OpenChannel {
    id: ChannelId,
    /// Where requests go, once SFTP is spoken.
    requests: Option<Sender<Piece>>,
}

/// What the thread of a channel is given.
enum Piece {
    Bytes(Bytes),
    /// The client sends no more, and has not been cut off.
    End,
}

impl SshSession {
    pub(super) fn new(shared: Arc<Shared>, connection: Arc<Connection>, peer: SocketAddr) -> SshSession {
        SshSession { shared, connection, peer, caller: None, place: None, channel: None, refused: 0 }
    }

    /// Lets a client in whose credentials are right, unless there is nothing for it here.
    fn admit(&mut self, caller: Caller, method: &'static str) -> Auth {
        if !caller.grants.has_anywhere(Role::Read) {
            tracing::warn!(client_id = caller.client_id, peer = %self.peer, "a client that may read no contract was refused");
            metrics::sign_in_failed("credentials");
            return rejected();
        }
        tracing::info!(client_id = caller.client_id, peer = %self.peer, method, "a client has signed in over SFTP");
        self.caller = Some(caller);
        Auth::Accept
    }

    async fn holder(&self, user: &str, key: &PublicKey) -> Option<Caller> {
        let key = keys::described(key).ok()?;
        let database = &self.shared.installation.database;
        let found = client_keys::holder(database, user, &key.fingerprint, &key.encoded).await;
        found.unwrap_or_else(|error| {
            tracing::error!(%error, "the keys of clients cannot be looked up");
            None
        })
    }

    /// Refuses what a client wants on a channel.
    fn refuse(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), SessionError> {
        self.count_refused()?;
        Ok(session.channel_failure(channel)?)
    }

    /// The same where people wait for an answer: they are told what this is, and no program is run.
    fn refuse_program(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), SessionError> {
        self.count_refused()?;
        session.channel_success(channel)?;
        session.extended_data(channel, STDERR, SFTP_ALONE)?;
        session.exit_status_request(channel, 1)?;
        session.eof(channel)?;
        Ok(session.close(channel)?)
    }

    fn count_refused(&mut self) -> Result<(), SessionError> {
        self.refused += 1;
        if self.refused > MAX_REFUSED { Err(SessionError::Refused) } else { Ok(()) }
    }

    /// Begins to speak SFTP on the open channel; `false` when it cannot be.
    fn begin(&mut self, channel: ChannelId, answers: Handle) -> bool {
        let Some(caller) = &self.caller else { return false };
        let open = self.channel.as_mut().filter(|open| open.id == channel && open.requests.is_none());
        let Some(open) = open else { return false };
        let (requests, pieces) = mpsc::channel();
        let (area, contracts) = (self.shared.area.clone(), places::contracts_of(caller));
        let connection = self.connection.clone();
        let runtime = runtime::Handle::current();
        let answers = Answers { answers, channel, connection: connection.clone(), runtime: runtime.clone() };
        let client_id = caller.client_id.clone();
        runtime.spawn_blocking(move || {
            match area.open(&contracts) {
                Ok(shares) => converse(Handler::new(area, shares), &pieces, &answers),
                Err(error) => {
                    tracing::error!(%error, client_id, "the areas of a client cannot be opened");
                    answers.hang_up("the server cannot open the directories of this client: its log tells why");
                }
            }
            connection.opened(0);
        });
        open.requests = Some(requests);
        true
    }
}

fn rejected() -> Auth {
    // Without this the method would not be offered again, and nobody could correct a typing error.
    Auth::Reject { proceed_with_methods: Some(methods()), partial_success: false }
}

/// How clients may sign in.
pub(super) fn methods() -> MethodSet {
    MethodSet::from([MethodKind::PublicKey, MethodKind::Password].as_slice())
}

impl russh::server::Handler for SshSession {
    type Error = SessionError;

    async fn auth_none(&mut self, _user: &str) -> Result<Auth, SessionError> {
        Ok(rejected())
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, SessionError> {
        let secret = Secret::new(password.to_owned());
        match self.shared.passwords.verify(user, secret, self.peer.ip()).await {
            Ok(caller) => Ok(self.admit(caller, "password")),
            Err(SignInError::Unavailable(error)) => {
                tracing::error!(%error, "clients cannot be looked up");
                Ok(rejected())
            }
            Err(SignInError::Wrong | SignInError::Wait(_)) => Ok(rejected()),
        }
    }

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, SessionError> {
        // Clients offer every key that they have: a strange one is no failure yet.
        Ok(if self.holder(user, offer.public_key).await.is_some() { Auth::Accept } else { rejected() })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, SessionError> {
        Ok(match self.holder(user, key.public_key).await {
            Some(caller) => self.admit(caller, "publickey"),
            None => rejected(),
        })
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), SessionError> {
        let client_id = self.caller.as_ref().map(|caller| caller.client_id.as_str()).unwrap_or_default();
        match self.shared.limits.session(client_id) {
            Ok(place) => self.place = Some(place),
            Err(limit) => {
                tracing::warn!(client_id, peer = %self.peer, limit, "too many SFTP sessions: one was refused");
                let told = "too many SFTP sessions: end some, or try again later";
                session.disconnect(Disconnect::TooManyConnections, told, "")?;
            }
        }
        self.connection.sign_in();
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), SessionError> {
        if self.channel.is_some() {
            let reason = "one session at a time on a connection: make another connection".to_owned();
            reply.reject(ChannelOpenFailure::Other { code: RESOURCE_SHORTAGE, reason }).await;
            return self.count_refused();
        }
        self.channel = Some(OpenChannel { id: channel.id(), requests: None });
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), SessionError> {
        if name == "sftp" && self.begin(channel, session.handle()) {
            return Ok(session.channel_success(channel)?);
        }
        self.refuse(channel, session)
    }

    async fn data(&mut self, channel: ChannelId, data: &[u8], _session: &mut Session) -> Result<(), SessionError> {
        let requests = self.channel.as_ref().filter(|open| open.id == channel).and_then(|open| open.requests.as_ref());
        if let Some(requests) = requests {
            if !self.connection.came(data.len()) {
                return Err(SessionError::Overrun);
            }
            // Nobody takes it any more once the thread has ended.
            let _ = requests.send(Piece::Bytes(Bytes::copy_from_slice(data)));
        }
        Ok(())
    }

    async fn channel_eof(&mut self, channel: ChannelId, _session: &mut Session) -> Result<(), SessionError> {
        if let Some(requests) =
            self.channel.as_ref().filter(|open| open.id == channel).and_then(|open| open.requests.as_ref())
        {
            let _ = requests.send(Piece::End);
        }
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), SessionError> {
        self.channel_eof(channel, session).await?;
        if self.channel.as_ref().is_some_and(|open| open.id == channel) {
            self.channel = None;
        }
        Ok(())
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), SessionError> {
        self.refuse_program(channel, session)
    }

    async fn exec_request(&mut self, channel: ChannelId, _: &[u8], session: &mut Session) -> Result<(), SessionError> {
        self.refuse_program(channel, session)
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), SessionError> {
        self.refuse(channel, session)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _single: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut Session,
    ) -> Result<(), SessionError> {
        self.refuse(channel, session)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: &str,
        session: &mut Session,
    ) -> Result<(), SessionError> {
        self.refuse(channel, session)
    }

    async fn signal(&mut self, _channel: ChannelId, _signal: Sig, _session: &mut Session) -> Result<(), SessionError> {
        self.count_refused()
    }

    async fn agent_request(&mut self, _channel: ChannelId, _session: &mut Session) -> Result<bool, SessionError> {
        self.count_refused().map(|()| false)
    }

    async fn tcpip_forward(&mut self, _: &str, _: &mut u32, _session: &mut Session) -> Result<bool, SessionError> {
        self.count_refused().map(|()| false)
    }

    async fn streamlocal_forward(&mut self, _: &str, _session: &mut Session) -> Result<bool, SessionError> {
        self.count_refused().map(|()| false)
    }
}

/// The way back to the client, for the thread of a channel.
struct Answers {
    answers: Handle,
    channel: ChannelId,
    connection: Arc<Connection>,
    runtime: runtime::Handle,
}

impl Answers {
    /// Sends a packet; `false` when there is nobody left to take it. Waits while the client takes no more.
    fn send(&self, mut packet: Bytes) -> bool {
        while !packet.is_empty() {
            let piece = packet.split_to(PIECE.min(packet.len()));
            self.connection.hold_up(true);
            let sent = self.runtime.block_on(self.answers.data(self.channel, piece));
            self.connection.hold_up(false);
            if sent.is_err() {
                return false;
            }
            self.connection.move_now();
        }
        true
    }

    /// The conversation has ended as it should.
    fn end(&self) {
        self.runtime.block_on(async {
            // Whether the client still listens makes no difference any more.
            let _ = self.answers.exit_status_request(self.channel, 0).await;
            let _ = self.answers.eof(self.channel).await;
            let _ = self.answers.close(self.channel).await;
        });
    }

    fn hang_up(&self, reason: &str) {
        let hang_up = self.answers.disconnect(Disconnect::ProtocolError, reason.to_owned(), String::new());
        let _ = self.runtime.block_on(hang_up);
    }
}

/// Answers requests until the client sends no more, or is gone.
fn converse(mut handler: Handler, pieces: &Receiver<Piece>, answers: &Answers) {
    let mut rope = Rope::default();
    loop {
        let packet = match rope.packet() {
            Ok(Some(packet)) => Packet::read(packet),
            Ok(None) => match pieces.recv() {
                Ok(Piece::Bytes(bytes)) => {
                    answers.connection.taken(bytes.len());
                    rope.push(bytes);
                    continue;
                }
                Ok(Piece::End) => {
                    handler.part();
                    return answers.end();
                }
                Err(mpsc::RecvError) => return,
            },
            Err(malformed) => Err(malformed),
        };
        let sent = match packet {
            Ok(Packet::Init) => answers.send(wire::version().into()),
            Ok(Packet::Request(number, request)) => {
                let before = handler.open_count();
                let reply = handler.answer(number, request);
                // What was closed counts until its client was told: whoever waits for nothing to be open ends the
                // connection then.
                answers.connection.opened(handler.open_count().max(before));
                let sent = answers.send(reply.packet);
                answers.connection.opened(handler.open_count());
                metrics::sftp_delivered(reply.delivered as u64);
                sent
            }
            Err(malformed) => return answers.hang_up(&malformed.to_string()),
        };
        if !sent {
            return;
        }
    }
}
