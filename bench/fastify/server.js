/** Answers reads of shares with what lies in Redis under the path, and the headers it is told to send. */

import Fastify from "fastify";
import { Redis } from "ioredis";

const redis = new Redis(process.env.REDIS_URL);
const headers = JSON.parse(process.env.HEADERS);
const app = Fastify();

async function answer(request, reply) {
  const body = await redis.getBuffer(`bench:${request.url}`);
  if (body === null) return reply.code(404).send({ success: false });
  return reply.headers(headers).send(body);
}

app.get("/api/share/latest", answer);
app.get("/api/share/list", answer);
app.get("/api/share/:id", answer);
await app.listen({ host: "127.0.0.1", port: Number(process.env.PORT) });
