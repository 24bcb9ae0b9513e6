"""Packets that are not pictures: some codecs store frames that are never shown.

VP8 and VP9 code some future frame ahead of its time and blend several into it (an alternate reference); other frames
are predicted from it, and it is not shown. The first bytes of a packet say so. An AV1 packet always holds exactly one
frame that is shown. Looking costs a third of a microsecond a packet, and nothing is decoded.
"""

import av

HIDING = ("vp8", "vp9")
"""Codecs whose packets may hold no frame that is shown."""


def is_shown(packet: av.Packet, codec: str) -> bool:
    """Whether a packet of this codec gives a frame that is shown, by its frame header (RFC 6386, section 9.1; VP9
    bitstream specification, section 6.2). Nothing is decoded."""
    if codec not in HIDING or not packet.size:
        return True
    data = memoryview(packet)
    first = data[0]
    if codec == "vp8":
        return bool(first & 0x10)
    if data[-1] & 0xE0 == 0xC0:  # a superframe: what is hidden comes in one packet with what is shown
        return True
    if first & 0x30 == 0x30:  # profile 3 has a reserved bit before the flags
        first = first << 1 & 0xFF
    return bool(first & 0x08 or first & 0x02)  # show_existing_frame, show_frame
