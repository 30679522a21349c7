// The official TypeScript client in a whole conversation: progress, a form, a cancelled call, a stream that is lost and
// asked for again, a task, a changed list. Its key comes by the environment.
//   node conversation.js URL
// Prints what it heard as one JSON object.
import { setTimeout as pause } from "node:timers/promises";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
  CallToolResultSchema,
  ElicitRequestSchema,
  ToolListChangedNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";

const requestInit = { headers: { Authorization: `Bearer ${process.env.AGENT_KEY}` } };
const url = new URL(process.argv[2]);
const heard = { progress: [], asked: [], task: [], changes: 0 };
let lose = false;

// Cuts the stream of a call after its first event, once; what is missing then has to come by Last-Event-ID.
async function unreliable(address, init) {
  const response = await fetch(address, init);
  const isLost = lose && init.method === "POST" && response.headers.get("content-type") === "text/event-stream";
  if (new Headers(init.headers).get("last-event-id")) heard.resumed = true;
  if (!isLost) return response;
  lose = false;
  const reader = response.body.getReader();
  const { value } = await reader.read();
  await reader.cancel();
  return new Response(new ReadableStream({
    start(controller) {
      controller.enqueue(value);
      controller.close();
    },
  }), { status: response.status, headers: response.headers });
}

const client = new Client({ name: "typescript-sdk", version: "1" }, { capabilities: { elicitation: { form: {} } } });
client.setRequestHandler(ElicitRequestSchema, (request) => {
  heard.asked.push(request.params.message);
  return { action: "accept", content: { username: "ana", email: "ana@example.com" } };
});
client.setNotificationHandler(ToolListChangedNotificationSchema, () => { heard.changes += 1; });
const call = (name, args = {}, options = {}) =>
  client.callTool({ name, arguments: args }, CallToolResultSchema, options);
const text = (result) => result.content[0].text;

const transport = new StreamableHTTPClientTransport(url, { requestInit, fetch: unreliable });
await client.connect(transport);
const session = transport.sessionId;
heard.session = Boolean(session);
await client.listTools();

await call("test_tool_with_progress", {}, { onprogress: ({ progress }) => heard.progress.push(progress) });
heard.form = text(await call("test_elicitation", { message: "Who are you?" }));

lose = true;
const reached = [];
heard.lost = text(await call("test_tool_with_progress", {}, { onprogress: ({ progress }) => reached.push(progress) }));
heard.reached = reached;

const stream = client.experimental.tasks.callToolStream(
  { name: "test_tool_with_progress", arguments: {} }, CallToolResultSchema, { task: { ttl: 60000 } });
for await (const message of stream) {
  heard.task.push(message.type);
  if (message.type === "result") heard.taskResult = text(message.result);
}

for (let tries = 0; tries < 20 && heard.changes === 0; tries += 1) {
  await call("test_trigger_tool_change");
  await pause(250);
}
await transport.terminateSession();
heard.ended = await fetch(url, {
  method: "POST",
  headers: {
    ...requestInit.headers, "Mcp-Session-Id": session,
    "Content-Type": "application/json", Accept: "application/json, text/event-stream",
  },
  body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" }),
}).then((response) => response.status);
console.log(JSON.stringify(heard));
await client.close();
process.exit(0);
