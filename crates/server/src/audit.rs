//! Entries of the audit log as JSON.

use std::io::{self, Write};

use dipper_core::audit::export::AuditWriter;
use dipper_core::audit::{AuditFile, Chained};
use serde_json::{Value, json};

/// An entry without its list of files.
pub(crate) fn entry_json(chained: &Chained) -> Value {
    let entry = &chained.entry;
    json!({
        "contractId": entry.contract_id,
        "number": chained.number,
        "at": entry.at.to_string(),
        "kind": entry.kind.name(),
        "success": entry.success,
        "agent": entry.agent,
        "archiveId": entry.package_id,
        "objectId": entry.object_id,
        "version": entry.version,
        "label": entry.label,
        "algorithm": entry.algorithm,
        "digest": entry.digest,
        "bytes": entry.size_bytes,
        "files": entry.file_count,
        "detail": entry.detail,
        "concernsAllFiles": entry.whole,
        "fileList": chained.file_list,
        "previous": chained.previous,
        "hash": chained.hash,
    })
}

/// One JSON document, an entry a line.
#[derive(Debug, Default)]
pub(crate) struct JsonWriter {
    entries: u64,
    files: u64,
}

impl AuditWriter for JsonWriter {
    fn begin(&mut self, sink: &mut dyn Write) -> io::Result<()> {
        sink.write_all(b"{\"entries\":[")
    }

    fn entry(&mut self, sink: &mut dyn Write, chained: &Chained) -> io::Result<()> {
        let text = entry_json(chained).to_string();
        let open = text.strip_suffix('}').unwrap_or(&text);
        let comma = if self.entries == 0 { "" } else { "," };
        (self.entries, self.files) = (self.entries + 1, 0);
        write!(sink, "{comma}\n{open},\"listed\":[")
    }

    fn file(&mut self, sink: &mut dyn Write, file: &AuditFile) -> io::Result<()> {
        let comma = if self.files == 0 { "" } else { "," };
        self.files += 1;
        let file = json!({
            "path": file.path,
            "bytes": file.size_bytes,
            "algorithm": file.algorithm,
            "digest": file.digest,
            "success": file.success,
            "detail": file.detail,
        });
        write!(sink, "{comma}{file}")
    }

    fn entry_end(&mut self, sink: &mut dyn Write) -> io::Result<()> {
        sink.write_all(b"]}")
    }

    fn end(&mut self, sink: &mut dyn Write) -> io::Result<()> {
        sink.write_all(b"\n]}\n")
    }
}
