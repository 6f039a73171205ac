// Streams of one value a line, as tailscaled and Docker engines send their events.

/** Lines of a stream, however they are cut; the last one only when it is ended by a line feed. */
export async function* lines(stream: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let parts: Uint8Array[] = [];
  for await (const chunk of stream) {
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      parts.push(chunk.subarray(start, end));
      const line = Buffer.concat(parts).toString('utf8').trim();
      if (line !== '') yield line;
      parts = [];
      start = end + 1;
    }
    if (start < chunk.length) parts.push(Buffer.from(chunk.subarray(start)));
  }
}
