// Prints every version of every message named on standard input as Kafka's own Java client writes it: the oracle of
// test_kafka_vectors.c. README.md tells how to run it and by which rule the fields get their values.

import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Scanner;
import java.util.zip.CRC32;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.BaseRecords;
import org.apache.kafka.common.record.MemoryRecords;

public class KafkaVectors {
    static short version;
    static boolean nulls;

    public static void main(String[] arguments) throws Exception {
        Scanner names = new Scanner(System.in);
        while (names.hasNext()) {
            String name = names.next();
            Class<?> type;
            try {
                type = Class.forName("org.apache.kafka.common.message." + name + "Data");
            } catch (ClassNotFoundException e) {
                type = Class.forName("org.apache.kafka.common.message." + name);
            }
            Schema[] schemas = (Schema[]) type.getField("SCHEMAS").get(null);
            for (String kind : List.of("full", "nulls", "defaults"))
                printVersions(name, type, schemas, kind);
        }
    }

    // A version that writes the same bytes as the one before is printed as "=".
    static void printVersions(String name, Class<?> type, Schema[] schemas, String kind) throws Exception {
        String last = null;
        for (version = 0; version < schemas.length; version++) {
            if (schemas[version] == null)
                continue;
            nulls = kind.equals("nulls");
            Message message = (Message) type.getConstructor().newInstance();
            if (!kind.equals("defaults"))
                fill(message, schemas[version], 0, 0);
            ByteBuffer buffer = MessageUtil.toByteBufferAccessor(message, version).buffer();
            byte[] bytes = new byte[buffer.remaining()];
            buffer.get(bytes);
            String hex = HexFormat.of().formatHex(bytes);
            System.out.println(name + " " + version + " " + kind + " " + (hex.equals(last) ? "=" : hex.isEmpty() ? "-" : hex));
            last = hex;
        }
    }

    static void fill(Object message, Schema schema, int depth, int salt) throws Exception {
        Map<String, Field> fields = new HashMap<>();
        for (Field field : message.getClass().getDeclaredFields())
            if (!Modifier.isStatic(field.getModifiers()))
                fields.put(field.getName().toLowerCase(), field);
        for (BoundField bound : schema.fields()) {
            if (bound.def.type instanceof TaggedFields tagged)
                for (var field : tagged.fields().values())
                    set(message, fields, field, depth, salt);
            else
                set(message, fields, bound.def, depth, salt);
        }
    }

    static void set(Object message, Map<String, Field> fields, org.apache.kafka.common.protocol.types.Field def, int depth,
            int salt) throws Exception {
        Field field = fields.get(def.name.replace("_", ""));
        field.setAccessible(true);
        // Schemas do not say of structs and records whether they are nullable: a struct is if it is null by default, records
        // are but in ShareFetch.
        boolean nullable = def.type instanceof Schema ? field.get(message) == null
            : def.type == Type.RECORDS || def.type == Type.COMPACT_RECORDS ? !message.getClass().getName().contains("ShareFetch")
            : def.type.isNullable();
        if (nulls && nullable)
            field.set(message, null);
        else if (def.type.isArray())
            field.set(message, array(field, def.type.arrayElementType().get(), depth, salt));
        else
            field.set(message, value(field.getName(), field.getType(), def.type, depth, salt));
    }

    @SuppressWarnings("unchecked")
    static Object array(Field field, Type type, int depth, int salt) throws Exception {
        Collection<Object> list;
        Class<?> element;
        if (field.getType() == List.class) {
            list = new ArrayList<>();
            element = (Class<?>) ((ParameterizedType) field.getGenericType()).getActualTypeArguments()[0];
        } else {
            list = (Collection<Object>) field.getType().getConstructor().newInstance();
            element = (Class<?>) ((ParameterizedType) field.getType().getGenericSuperclass()).getActualTypeArguments()[0];
        }
        int count = depth == 0 ? 2 : 1;
        for (int i = 0; i < count; i++)
            list.add(value(field.getName(), element, type, depth + 1, salt + i));
        return list;
    }

    static Object value(String name, Class<?> type, Type schema, int depth, int salt) throws Exception {
        long hash = crc(name);
        String text = name.substring(0, Math.min(name.length(), 8)) + (char) ('a' + salt);
        byte[] bytes = text.getBytes(StandardCharsets.US_ASCII);
        if (type == boolean.class || type == Boolean.class)
            return ((hash + salt) & 1) != 0;
        if (type == byte.class || type == Byte.class)
            return (byte) (hash % 100 + 1 + salt);
        if (type == short.class || type == Short.class)
            return (short) (hash % 30000 + 1 + salt);
        if (schema == Type.UINT16)
            return (int) (hash % 30000 + 30000 + salt);
        if (type == int.class || type == Integer.class)
            return (int) ((hash & 0x3fffffff) + 1 + salt);
        if (type == long.class || type == Long.class)
            return (hash << 24) + 1 + salt;
        if (type == double.class || type == Double.class)
            return hash / 8.0 + salt;
        if (type == String.class)
            return text;
        if (type == byte[].class)
            return bytes;
        if (type == ByteBuffer.class)
            return ByteBuffer.wrap(bytes);
        if (BaseRecords.class.isAssignableFrom(type))
            return MemoryRecords.readableRecords(ByteBuffer.wrap(bytes));
        if (type == Uuid.class)
            return new Uuid(hash << 32 | hash, hash << 32 | (hash ^ salt));
        Object struct = type.getConstructor().newInstance();
        fill(struct, (Schema) schema, depth, salt);
        return struct;
    }

    static long crc(String name) {
        CRC32 crc = new CRC32();
        crc.update(name.getBytes(StandardCharsets.US_ASCII));
        return crc.getValue();
    }
}
