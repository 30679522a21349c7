// The official TypeScript client, told by arguments what to do; its key comes by the environment.
//   node client.js URL TOOL ARGUMENTS
// Prints {"tools": [...], "result": {...}} or {"tools": [...], "error": {"code", "message"}}.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [url, name, given] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${process.env.AGENT_KEY}` };
const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
const client = new Client({ name: "typescript-sdk", version: "1" });

async function attempt() {
  try {
    return { result: await client.callTool({ name, arguments: JSON.parse(given) }) };
  } catch (error) {
    return { error: { code: error.code, message: error.message } };
  }
}

await client.connect(transport);
const { tools } = await client.listTools();
console.log(JSON.stringify({ tools: tools.map((tool) => tool.name), ...(await attempt()) }));
await client.close();
