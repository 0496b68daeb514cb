// Questions to the server, and frames as it packs them.

/** The JSON answer to a question; an Error with the server's words where it says no. */
export async function ask(path, options = {}) {
  const response = await fetch(path, options);
  if (response.status === 401) throw new Error(await response.text());
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error ?? `the server said ${response.status}`);
  return answer;
}

/** A packed answer. */
export async function askPacked(path) {
  const response = await fetch(path);
  if (!response.ok) {
    const answer = await response.json().catch(() => ({}));
    throw new Error(answer.error ?? `the server said ${response.status}`);
  }
  return unpack(await response.arrayBuffer());
}

export const tell = (path, content) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) });

/** A header, and its pictures as bytes: {h, w, raw, content}. */
export function unpack(buffer) {
  const size = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  header.pictures = header.pictures.map((each) => ({ ...each, content: new Uint8Array(buffer, 4 + size + each.at, each.bytes) }));
  return header;
}

/** The socket by which one drives; it comes back by itself. */
export class Socket {
  constructor(onframe, onmessage, onstate) {
    Object.assign(this, { onframe, onmessage, onstate, closed: false, waiting: [] });
    this.connect();
  }

  connect() {
    this.socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/drive`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => {
      this.onstate(true);
      for (const each of this.waiting.splice(0)) this.socket.send(each);
    };
    this.socket.onmessage = ({ data }) => (typeof data === "string" ? this.onmessage(JSON.parse(data)) : this.onframe(unpack(data)));
    this.socket.onclose = () => {
      if (this.closed) return;
      this.onstate(false);
      setTimeout(() => this.closed || this.connect(), 1000);
    };
  }

  send(command) {
    const text = JSON.stringify(command);
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(text);
    else if (command.do !== "input") this.waiting.push(text);
  }

  close() {
    this.closed = true;
    this.socket.close();
  }
}
