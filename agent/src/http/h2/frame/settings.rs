//! The parameters of a SETTINGS frame (RFC 9113 section 6.5), checked.

use super::super::refusal::Refusal;
use super::MAX_31;

pub const HEADER_TABLE_SIZE: u16 = 0x1;
pub const ENABLE_PUSH: u16 = 0x2;
pub const MAX_CONCURRENT_STREAMS: u16 = 0x3;
pub const INITIAL_WINDOW_SIZE: u16 = 0x4;
pub const MAX_FRAME_SIZE: u16 = 0x5;
pub const MAX_HEADER_LIST_SIZE: u16 = 0x6;
/// RFC 8441 section 3.
pub const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;
/// RFC 9218 section 2.1.
pub const NO_RFC7540_PRIORITIES: u16 = 0x9;

/// What one SETTINGS frame sets; the last value of each counts. What is unknown is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settings {
    pub header_table_size: Option<u32>,
    pub enable_push: Option<bool>,
    pub max_concurrent_streams: Option<u32>,
    pub initial_window_size: Option<u32>,
    pub max_header_list_size: Option<u32>,
    pub enable_connect_protocol: Option<bool>,
    pub no_rfc7540_priorities: Option<bool>,
}

impl Settings {
    /// From a payload of whole pairs.
    pub fn parse(payload: &[u8]) -> Result<Self, Refusal> {
        let mut settings = Self::default();
        let (pairs, _) = payload.as_chunks::<6>();
        for [i0, i1, v0, v1, v2, v3] in pairs {
            let value = u32::from_be_bytes([*v0, *v1, *v2, *v3]);
            match u16::from_be_bytes([*i0, *i1]) {
                HEADER_TABLE_SIZE => settings.header_table_size = Some(value),
                ENABLE_PUSH => settings.enable_push = Some(yes_or_no(value)?),
                MAX_CONCURRENT_STREAMS => settings.max_concurrent_streams = Some(value),
                INITIAL_WINDOW_SIZE if value > MAX_31 => return Err(Refusal::SettingWindow),
                INITIAL_WINDOW_SIZE => settings.initial_window_size = Some(value),
                // Larger frames than the least that every peer takes are never sent: the value does not matter.
                MAX_FRAME_SIZE if !(16_384..=16_777_215).contains(&value) => {
                    return Err(Refusal::SettingValue);
                }
                MAX_HEADER_LIST_SIZE => settings.max_header_list_size = Some(value),
                ENABLE_CONNECT_PROTOCOL => settings.enable_connect_protocol = Some(yes_or_no(value)?),
                NO_RFC7540_PRIORITIES => settings.no_rfc7540_priorities = Some(yes_or_no(value)?),
                _ => {}
            }
        }
        Ok(settings)
    }
}

fn yes_or_no(value: u32) -> Result<bool, Refusal> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Refusal::SettingValue),
    }
}
