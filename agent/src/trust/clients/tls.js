const [name, port] = process.argv.slice(-2);
const options = { host: "127.0.0.1", port: Number(port), servername: name, timeout: 20000 };
const stream = require("tls").connect(options, () => stream.write("GET / HTTP/1.0\r\n\r\n"));
stream.on("data", () => stream.end());
stream.on("error", (error) => {
  console.error(error.message);
  process.exit(1);
});
