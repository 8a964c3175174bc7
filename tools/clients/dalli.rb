# Dalli, as Rails uses it; README.md tells what an agent does.

require 'dalli'
require 'json'

LIMIT_SECONDS = 120

Thread.new do
  sleep LIMIT_SECONDS
  warn 'out of time'
  exit! 1
end

def connect(mode, servers)
  abort "no mode #{mode}" unless mode == 'default'
  servers = servers.map { |server| server.sub('*', ':') }
  Dalli::Client.new(servers, raw: true, compress: false, socket_timeout: 10)
end

# Text as Rails has it, where the key is text.
def key_of(bytes)
  text = bytes.dup.force_encoding(Encoding::UTF_8)
  text.valid_encoding? ? text : bytes
end

def first(keys)
  keys.first(5).map { |key| key.unpack1('H*') }
end

def write(client, items)
  refused = items.reject { |key, value| client.set(key_of(key), value, nil, raw: true) }
  keys = refused.map(&:first)
  { stored: items.size - keys.size, refused: keys.size, first: first(keys) }
end

def read(client, items)
  found = items.map { |key, value| [key, value, client.get(key_of(key), raw: true)&.b] }
  bad = found.reject { |_, value, other| value == other }
  missing = bad.count { |_, _, other| other.nil? }
  { equal: items.size - bad.size, different: bad.size - missing, missing: missing,
    first: first(bad.map(&:first)) }
end

if ARGV == ['version']
  puts "dalli #{Dalli::VERSION}"
  exit
end
job, mode, path, *servers = ARGV
Dalli.logger.level = Logger::ERROR
client = connect(mode, servers)
items = File.binread(path).split("\n").map { |line| line.split("\t") }
report =
  case job
  when 'write' then write(client, items)
  when 'read' then read(client, items)
  else abort "no job #{job}"
  end
puts JSON.generate(report)
