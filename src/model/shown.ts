/** What a text shows: values in any usual disguise, and characters that are more than text to a terminal or a log. */

/** Invisible characters, separators, line breaks and lone surrogates. */
const unshowable = /[\p{C}\p{Z}]+/gu;

/** The text on one line; what could disturb a terminal or begin a line of its own has become a space. */
export function oneLine(text: string): string {
  return text.replace(unshowable, ' ').trim();
}

/** How a value would look where somebody wrote, logged or sent it, each once; letters in either case stand for the same. */
export function disguisesOf(value: string): readonly string[] {
  const bytes = Buffer.from(value);
  return [
    ...new Set([
      value,
      oneLine(value),
      JSON.stringify(value).slice(1, -1),
      bytes.toString('hex'),
      encodeURIComponent(bytes.toString()),
      new URLSearchParams({ '': value }).toString().slice(1),
      ...[0, 1, 2].flatMap((offset) => base64Inside(bytes, offset)),
    ]),
  ];
}

/** How the bytes look inside the base64 of a longer text in which they begin `offset` bytes after a group of three. */
function base64Inside(bytes: Buffer, offset: number): readonly string[] {
  const whole = Buffer.concat([Buffer.alloc(offset), bytes]);
  const from = offset === 0 ? 0 : offset + 1;
  const to = Math.floor((whole.length * 4) / 3);
  return (['base64', 'base64url'] as const).map((encoding) => whole.toString(encoding).slice(from, to));
}
