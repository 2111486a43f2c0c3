//! SETTINGS and their acknowledgements: each side's values reach the other one as far as they concern it.

use std::time::Duration;

use super::peer::Unacked;
use super::{Relay, Side};
use crate::http::h2::Refusal;
use crate::http::h2::frame::settings::{self as setting, Settings};
use crate::http::h2::frame::{Fault, PREFACE, write};

impl Relay {
    pub(super) fn settings(&mut self, from: Side, payload: &[u8], now: Duration) -> Result<(), Fault> {
        self.spend(from, now, Refusal::SettingsFlood)?;
        let settings = Settings::parse(payload)?;
        if from == Side::Origin && settings.enable_push == Some(true) {
            return Err(Refusal::SettingValue.into());
        }
        let first = !std::mem::replace(&mut self.peer(from).greeted, true);
        if let Some(size) = settings.header_table_size {
            // A smaller table is no wrong at any time, a larger one only when it counts for both ends.
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            self.peer(from).encoder.lower(size);
        }
        if self.peer_ref(from.other()).lost {
            self.apply(from, settings);
            write::settings_ack(&mut self.peer(from).out);
            return Ok(());
        }
        if self.peer_ref(from.other()).unacked.len() >= self.limits.settings {
            return Err(Refusal::SettingsFlood.into());
        }
        match from {
            Side::Client => self.settings_to_origin(settings, first),
            Side::Origin => self.settings_to_client(settings),
        }
        self.peer(from.other()).unacked.push_back(Unacked::Of(settings));
        Ok(())
    }

    /// The first ones begin the connection to the origin: no push, whatever the client would take.
    fn settings_to_origin(&mut self, settings: Settings, first: bool) {
        let out = &mut self.origin.out;
        if first {
            out.extend_from_slice(PREFACE);
            self.preface_written = true;
        }
        let list = u32::try_from(self.limits.header_list).unwrap_or(u32::MAX);
        let list = match settings.max_header_list_size {
            Some(theirs) => Some(theirs.min(list)),
            None => first.then_some(list),
        };
        let pairs = [
            first.then_some((setting::ENABLE_PUSH, 0)),
            settings.initial_window_size.map(|value| (setting::INITIAL_WINDOW_SIZE, value)),
            list.map(|value| (setting::MAX_HEADER_LIST_SIZE, value)),
            // It must not change after the first ones.
            settings
                .no_rfc7540_priorities
                .filter(|_| first)
                .map(|value| (setting::NO_RFC7540_PRIORITIES, value.into())),
        ];
        write::settings(pairs.into_iter().flatten(), out);
    }

    fn settings_to_client(&mut self, settings: Settings) {
        let limits = self.limits;
        let list = u32::try_from(limits.header_list).unwrap_or(u32::MAX);
        let offers_connect = limits.websocket && settings.enable_connect_protocol == Some(true);
        // Once offered it must not be taken back.
        self.origin.offers_connect |= offers_connect;
        let pairs = [
            settings
                .max_concurrent_streams
                .map(|value| (setting::MAX_CONCURRENT_STREAMS, value.min(limits.concurrent_streams))),
            settings.initial_window_size.map(|value| (setting::INITIAL_WINDOW_SIZE, value)),
            settings.max_header_list_size.map(|value| (setting::MAX_HEADER_LIST_SIZE, value.min(list))),
            offers_connect.then_some((setting::ENABLE_CONNECT_PROTOCOL, 1)),
        ];
        write::settings(pairs.into_iter().flatten(), &mut self.client.out);
    }

    pub(super) fn settings_ack(&mut self, from: Side) -> Result<(), Fault> {
        match self.peer(from).unacked.pop_front() {
            None => Err(Refusal::SettingsAck.into()),
            Some(Unacked::Own) => Ok(()),
            Some(Unacked::Of(settings)) => {
                let owner = from.other();
                self.apply(owner, settings);
                write::settings_ack(&mut self.peer(owner).out);
                if owner == Side::Client {
                    self.pump_answers();
                }
                Ok(())
            }
        }
    }

    /// The values count for both ends from here on.
    fn apply(&mut self, owner: Side, settings: Settings) {
        let peer = self.peer(owner);
        if let Some(window) = settings.initial_window_size {
            peer.initial_window = window;
        }
        if let Some(size) = settings.header_table_size {
            peer.encoder.allow(usize::try_from(size).unwrap_or(usize::MAX));
        }
    }
}
