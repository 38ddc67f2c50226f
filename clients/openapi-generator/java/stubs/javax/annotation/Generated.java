package javax.annotation;

/** What the generated sources are marked with. Java 9 and later do not have it, and nothing reads it. */
public @interface Generated {
    String[] value();

    String comments() default "";

    String date() default "";
}
