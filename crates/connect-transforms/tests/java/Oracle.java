import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
import org.apache.kafka.common.Configurable;
import org.apache.kafka.connect.connector.ConnectRecord;
import org.apache.kafka.connect.data.*;
import org.apache.kafka.connect.header.*;
import org.apache.kafka.connect.json.JsonConverter;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.storage.*;
import org.apache.kafka.connect.transforms.Transformation;
import org.apache.kafka.common.record.TimestampType;

/** Says what Kafka's classes do: a case a line in, an answer a line out. The cases are described in cases.rs. */
public class Oracle {
    static final JsonConverter JSON = new JsonConverter();

    public static void main(String[] args) throws Exception {
        TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
        Locale.setDefault(Locale.ENGLISH);
        JSON.configure(Map.of(), false);
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);
        for (String line; (line = in.readLine()) != null; ) {
            String[] fields = line.split("\t", -1);
            for (int i = 0; i < fields.length; i++) fields[i] = unescape(fields[i]);
            String answer;
            try {
                answer = answer(fields);
            } catch (Throwable t) {
                answer = "error " + t.getClass().getSimpleName() + (t instanceof NullPointerException ? "" : ": " + t.getMessage());
            }
            out.println(escape(answer));
            out.flush();
        }
    }

    static String answer(String[] f) throws Exception {
        switch (f[0]) {
            case "json": {
                var converter = new JsonConverter();
                converter.configure(settings(f[1]), false);
                SchemaAndValue read = converter.toConnectData("t", f[2].getBytes(StandardCharsets.UTF_8));
                return (read.value() instanceof byte[] ? "bytes" : read.value()) + " | " + text(converter.fromConnectData("t", read.schema(), read.value()));
            }
            case "convert": {
                var converter = (Converter) create(f[1]);
                converter.configure(settings(f[2]), false);
                SchemaAndValue value = read(f[3]);
                byte[] bytes = converter.fromConnectData("t", value.schema(), value.value());
                SchemaAndValue back = converter.toConnectData("t", bytes);
                return hex(bytes) + " | " + written(back.schema(), back.value());
            }
            case "bytes": {
                var converter = (Converter) create(f[1]);
                converter.configure(settings(f[2]), false);
                SchemaAndValue back = converter.toConnectData("t", unhex(f[3]));
                return written(back.schema(), back.value());
            }
            case "header": {
                var converter = new SimpleHeaderConverter();
                SchemaAndValue value = converter.toConnectHeader("t", "h", f[1].getBytes(StandardCharsets.UTF_8));
                if (value == null) value = SchemaAndValue.NULL;
                return text(converter.fromConnectHeader("t", "h", value.schema(), value.value())) + " | " + written(value.schema(), value.value());
            }
            case "configure":
                ((Configurable) create(f[1])).configure(settings(f[2]));
                return "fine";
            case "transform": {
                @SuppressWarnings("unchecked")
                var transform = (Transformation<SinkRecord>) create(f[1]);
                transform.configure(settings(f[2]));
                SchemaAndValue key = read(f[3]), value = read(f[4]);
                var headers = new ConnectHeaders();
                headers.addString("h", "1").addInt("n", 2).addString("h", "3");
                var record = new SinkRecord("topic-a", 3, key.schema(), key.value(), value.schema(), value.value(), 42, 1709211909007L, TimestampType.CREATE_TIME, headers);
                SinkRecord result = transform.apply(record);
                if (result == null) return "dropped";
                var text = new StringBuilder(result.topic() + " | " + written(result.keySchema(), result.key()) + " | " + written(result.valueSchema(), result.value()));
                if (!result.headers().equals(headers))
                    for (Header header : result.headers()) text.append(" | ").append(header.key()).append('=').append(written(header.schema(), header.value()));
                return text.toString();
            }
        }
        throw new IllegalArgumentException("no such case");
    }

    static Object create(String name) throws Exception {
        return Class.forName("org.apache.kafka.connect." + name).getDeclaredConstructor().newInstance();
    }

    static Map<String, String> settings(String text) {
        var settings = new HashMap<String, String>();
        for (String pair : text.split(";"))
            if (!pair.isEmpty()) settings.put(pair.substring(0, pair.indexOf('=')), pair.substring(pair.indexOf('=') + 1));
        return settings;
    }

    static SchemaAndValue read(String json) {
        return json.equals("-") ? SchemaAndValue.NULL : JSON.toConnectData("t", json.getBytes(StandardCharsets.UTF_8));
    }

    static String written(Schema schema, Object value) {
        if (schema != null && schema.type() == Schema.Type.MAP && schema.keySchema() == null) return value.toString();
        try {
            return text(JSON.fromConnectData("t", schema, value));
        } catch (RuntimeException e) {
            return value + " (" + e.getMessage() + ")";
        }
    }

    static String text(byte[] bytes) {
        return bytes == null ? "none" : new String(bytes, StandardCharsets.UTF_8);
    }

    static String hex(byte[] bytes) {
        return bytes == null ? "none" : HexFormat.of().formatHex(bytes);
    }

    static byte[] unhex(String text) {
        return text.equals("none") ? null : HexFormat.of().parseHex(text);
    }

    static String escape(String text) {
        return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t");
    }

    static String unescape(String text) {
        var plain = new StringBuilder();
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c == '\\') {
                c = text.charAt(++i);
                c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
            }
            plain.append(c);
        }
        return plain.toString();
    }
}
