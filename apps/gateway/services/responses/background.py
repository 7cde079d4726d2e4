"""Responses in the background: the call goes on when the client that asked for it has left."""

from __future__ import annotations

import structlog

from apps.core.errors import AppError
from apps.gateway.dialects.responses import ResponsesWriter
from apps.gateway.errors import CallCancelled
from apps.gateway.services.calls import RunningCall
from apps.gateway.services.responses.archive import Archive
from apps.gateway.services.responses.desk import Desk

logger = structlog.get_logger(__name__)


def run_in_background(*, desk: Desk, call: RunningCall, archive: Archive, writer: ResponsesWriter) -> None:
    """Make a call, streamed, into an archive. Returns at once; however it ends, the response does too."""
    archive.take(writer.begin(), writer.sequence)
    desk.begin(archive)
    desk.spawn(_run(desk, call, archive, writer))


async def _run(desk: Desk, call: RunningCall, archive: Archive, writer: ResponsesWriter) -> None:
    try:
        last = await _read(call, archive, writer)
    except CallCancelled:
        last = writer.cancel()
    except AppError as error:
        last = writer.fail(error)
    except Exception:
        logger.exception("response_failed", response=str(archive.id))
        last = writer.fail(AppError("Something failed on our side; quote the response's id."))
    finally:
        call.release()
    archive.take(last, writer.sequence)
    await desk.end(archive, writer.response)


async def _read(call: RunningCall, archive: Archive, writer: ResponsesWriter) -> bytes:
    await call.start()
    async for batch in call.batches():
        archive.take(writer.write(batch), writer.sequence)
    return writer.cancel() if call.was_cancelled else writer.close()
