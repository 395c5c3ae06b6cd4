import { CompassOutlined } from "@ant-design/icons";
import { Button } from "antd";
import { Link } from "react-router";
import { useTexts } from "../texts/language";

export function Missing() {
  const texts = useTexts();
  return (
    <div className="centre">
      <div className="missing">
        <CompassOutlined aria-hidden />
        <h1>{texts("missing.title")}</h1>
        <p className="quiet">{texts("missing.about")}</p>
        <Link to="/">
          <Button type="primary">{texts("nav.overview")}</Button>
        </Link>
      </div>
    </div>
  );
}
